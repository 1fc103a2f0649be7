"""Sampling of clauses about states: qualities, comparisons, possession, existence, prices, and the passive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.embedded_corpus import english, german, lexicon
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.frames import Setting
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Noun
from tools.embedded_corpus.nominals import adjectives_of, nouns_of, possessive
from tools.embedded_corpus.numbers import english_number, german_number
from tools.embedded_corpus.phrases import PRONOUNS, Name, Nominal, NounPhrase, Pronoun, prepositional
from tools.embedded_corpus.verbs import BE, MODALS, Tense
from tools.embedded_corpus.words import Concept, Phrase, Words, chain, fixed, word, words

if TYPE_CHECKING:
    from tools.embedded_corpus.predicates import Predicates

_TRADES = nouns_of("job")
# Represents every person when an adjective is drawn.
_ANYBODY = lexicon.noun("Frau")


class States:
    """A sampler of clauses that describe a person or a thing."""

    def __init__(self, predicates: Predicates) -> None:
        self._predicates = predicates
        self.choice = predicates.choice

    def copula(self, setting: Setting, subject: Nominal, *, lone: bool) -> Clause:
        """Draw a clause with sein: an adjective, a comparison or, if standing alone, an age, trade or possession."""
        choice = self.choice
        kind = choice.weighted(
            ("adjective", "comparison", "age", "trade", "have"), (36, 18, 15, 13, 25) if lone else (70, 20, 0, 0, 10)
        )
        if kind == "trade" and not (subject.person == "3s" and isinstance(subject, (Name, Pronoun))):
            kind = "adjective"
        if kind == "have":
            return self._having(setting, subject)
        negation = Concept() if choice.chance(0.1) and kind == "adjective" else None
        clause = Clause(BE, setting.short, subject, negation=negation)
        if negation is not None:
            clause.negate()
        gender = "f" if possessive(subject) == "ihr" else "m"
        if kind == "trade":
            clause.add(Role.COMPLEMENT, _trade(choice.zipf([noun for noun in _TRADES if noun.gender == gender])))
        elif kind == "comparison":
            other = self._predicates.nominals.other_person(subject, Case.NOMINATIVE)
            noun = _ANYBODY
            known = other if not isinstance(other, Pronoun) else self._predicates.nominals.name()
            clause.add(Role.COMPLEMENT, self.comparison(noun, known))
        elif kind == "age":
            child = isinstance(subject, NounPhrase) and "child" in subject.noun.classes
            clause.add(Role.COMPLEMENT, _age(choice.between(3, 15) if child else choice.between(18, 95)))
        else:
            clause.add(Role.COMPLEMENT, self._described(_ANYBODY))
        return clause

    def _having(self, setting: Setting, subject: Nominal) -> Clause:
        """Draw a clause in which the subject has animals, vehicles, family or things; the verb is haben."""
        verb = lexicon.verb("haben", subject="special")
        negation = Concept() if self.choice.chance(0.15) else None
        clause = Clause(verb, setting.short, subject, negation=negation)
        noun = self.choice.zipf(nouns_of(self.choice.zipf(("child", "pet", "owned", "object", "idea"))))
        if negation is not None:
            phrase = NounPhrase(noun, "kein", self.choice.chance(0.3), negation=negation)
        elif self.choice.chance(0.4):
            phrase = self._predicates.nominals.counted(noun, self._predicates.nominals.adjectives(noun)[:1])
            phrase.number = phrase.number if phrase.number < 13 else 2
        else:
            phrase = NounPhrase(noun, "ein", adjectives=self._predicates.nominals.adjectives(noun))
        clause.add(Role.INDEFINITE, phrase.phrase(Case.ACCUSATIVE))
        return clause

    def _described(self, noun: Noun) -> Phrase:
        entry = self.choice.zipf(adjectives_of(noun))
        predicate = fixed(entry.german, entry.english, "ADJD")
        if self.choice.chance(0.2):
            return chain([fixed("sehr", "very", "ADV"), predicate])
        return predicate

    def comparison(self, noun: Noun, other: Nominal) -> Phrase:
        """Draw a comparison: older than somebody, or as old as somebody."""
        entry = self.choice.zipf([entry for entry in adjectives_of(noun) if entry.comparative])
        concept = Concept()
        if self.choice.chance(0.3):
            equal = [fixed("so", "as", "ADV"), fixed(entry.german, entry.english, "ADJD"), fixed("wie", "as", "KOKOM")]
            return chain([*equal, other.phrase(Case.NOMINATIVE)])
        de = [word(german.comparative(entry.comparative), "ADJD", concept, lemma=entry.german)]
        more = [word(text, "ADJD", concept, lemma=entry.english) for text in english.comparative(entry).split()]
        return chain([Phrase(de, more), fixed("als", "than", "KOKOM"), other.phrase(Case.NOMINATIVE)])

    def about_thing(self, setting: Setting, free: bool) -> Clause:
        """Draw a clause in which a thing lies, belongs, costs, lasts, leaves or is described, or a passive clause."""
        choice = self.choice
        kind = choice.weighted(("verb", "passive", "adjective", "price", "duration", "exist"), (30, 30, 14, 12, 6, 12))
        if kind == "passive" and setting.tense is not Tense.FUTURE:
            return self.passive(setting)
        if kind == "exist":
            return self._existence(setting)
        if kind in ("price", "duration"):
            return self._measured(setting, kind)
        if kind == "adjective":
            noun = choice.zipf(nouns_of(choice.zipf(("thing", "place", "vehicle", "event", "tale"))))
            clause = Clause(BE, setting.short, self._definite_thing(noun, setting))
            if choice.chance(0.25) and noun.german != "Wahrheit":
                other = NounPhrase(choice.zipf([n for n in nouns_of(noun.classes[0]) if n is not noun]), "dieser")
                clause.add(Role.COMPLEMENT, self.comparison(noun, other))
            else:
                clause.add(Role.COMPLEMENT, self._described(noun))
            return clause
        noun = choice.zipf(
            nouns_of(choice.zipf(("transit", "object", "event", "document", "device", "clothing", "timepiece")))
        )
        return self._predicates.complete(
            self._predicates.verb(*noun.classes), self._definite_thing(noun, setting), setting, free
        )

    def _definite_thing(self, noun: Noun, setting: Setting) -> NounPhrase:
        phrase = self._predicates.nominals.thing(noun, definite=True)
        if phrase.determiner in ("quantifier", "jeder", "alle"):
            phrase = NounPhrase(noun, "der", adjectives=phrase.adjectives)
        self._predicates.relatives.relate(phrase, setting, 0.15)
        return phrase

    def passive(self, setting: Setting) -> Clause:
        """Draw a passive clause: das Haus wurde gebaut. In one of three cases, von names who did it."""
        while True:
            verb = self._predicates.verb("person")
            pool = [name for name in verb.frame.accusative if name not in ("person", "family", "animal")]
            if pool and not verb.frame.dative and not verb.frame.place and verb.name not in lexicon.STATES:
                break
        noun = self.choice.zipf(nouns_of(self.choice.zipf(pool)))
        modal = (
            self.choice.zipf((MODALS["müssen"], MODALS["können"], MODALS["sollen"]))
            if self.choice.chance(0.25)
            else None
        )
        clause = Clause(verb, setting.short, self._definite_thing(noun, setting), modal, passive=True)
        if self.choice.chance(0.35) and modal is None:
            agent = self._predicates.nominals.described_person(definite=True)
            if agent.determiner == "jeder":
                agent.determiner = "dieser"
            clause.add(Role.PREPOSITIONAL, prepositional(("von", "by"), Case.DATIVE, agent))
        if self._predicates.times_left and self.choice.chance(0.4 + 0.2 * self._predicates.detail):
            self._predicates.times_left -= 1
            clause.add(Role.TIME, self._predicates.adverbials.time(setting.tense))
        return clause

    def _existence(self, setting: Setting) -> Clause:
        """Draw a clause of existence: in der Stadt gibt es zwei Museen, there are two museums in the city."""
        choice = self.choice
        verb = lexicon.verb("geben", subject="special")
        noun = choice.zipf(nouns_of("building", "object", "animal", "surface"))
        phrase = self._predicates.nominals.counted(noun) if choice.chance(0.5) else NounPhrase(noun, "ein")
        phrase.adjectives = self._predicates.nominals.adjectives(noun)
        expletive = Pronoun(("es", "es", "es"), ("there", "there"), "3s")
        tense = Tense.PRETERITE if setting.tense.past else setting.tense
        clause = Clause(verb, tense, expletive, english_person=phrase.person)
        clause.add(Role.INDEFINITE, phrase.phrase(Case.ACCUSATIVE))
        around = ("city",) if "building" in noun.classes else ("outdoors",) if "animal" in noun.classes else ("room",)
        clause.add(Role.PLACE, self._predicates.adverbials.where(around))
        return clause

    def _measured(self, setting: Setting, kind: str) -> Clause:
        """Draw a price in euros, or a duration."""
        infinitive = "kosten" if kind == "price" else "dauern"
        verb = lexicon.verb(infinitive, subject="special")
        pool = ("object", "clothing", "document", "owned") if kind == "price" else ("event",)
        noun = self.choice.zipf(nouns_of(self.choice.zipf(pool)))
        clause = Clause(verb, setting.ordinary(PRONOUNS["es"]), self._definite_thing(noun, setting))
        if kind == "price":
            low, high = (500, 90_000) if "vehicle" in noun.classes else self.choice.zipf(((2, 99), (100, 999)))
            number = self.choice.between(low, high)
            amount, unit = Concept(), Concept()
            de = [word(german_number(number + (number % 100 == 1)), "CARD", amount), word("Euro", "NN", unit)]
            en = words(english_number(number + (number % 100 == 1)), "CARD", amount)
            clause.add(Role.COMPLEMENT, Phrase(de, [*en, word("euros", "NN", unit)]))
        else:
            unit_noun = lexicon.noun(self.choice.zipf(("Stunde", "Minute", "Tag", "Woche")))
            counted = self._predicates.nominals.counted(unit_noun)
            counted.number = counted.number % 60 or 2
            counted.number += 2 if counted.number == 1 else 0
            clause.add(Role.COMPLEMENT, counted.phrase(Case.ACCUSATIVE))
        return clause


def _trade(noun: Noun) -> Phrase:
    """Return a trade as predicate, without an article in German and with one in English."""
    concept = Concept()
    article = english.indefinite_article(noun.english)
    return Phrase(
        [word(noun.german, "NN", concept)],
        [word(article, "ART", concept, lemma="a"), word(noun.english, "NN", concept)],
    )


def _age(years: int) -> Phrase:
    """Return the predicate of an age: so many years old."""
    return chain(
        [
            Phrase(*(_number(german_number(years), english_number(years)))),
            fixed("Jahre", "years", "NN"),
            fixed("alt", "old", "ADJD"),
        ]
    )


def _number(de: str, en: str) -> tuple[Words, Words]:
    concept = Concept()
    return [word(de, "CARD", concept)], words(en, "CARD", concept)
