"""Sampling of relative clauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.embedded_corpus import german, lexicon
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.frames import Setting, dative, governed, verbs_of, verbs_taking
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Noun
from tools.embedded_corpus.nominals import is_person, nouns_of
from tools.embedded_corpus.phrases import PRONOUNS, Nominal, NounPhrase, RelativePronoun, prepositional
from tools.embedded_corpus.verbs import Tense
from tools.embedded_corpus.words import Concept, Phrase, word

if TYPE_CHECKING:
    from tools.embedded_corpus.predicates import Predicates


class Relatives:
    """A sampler of relative clauses in which the antecedent is the subject, an object, the place or an owner."""

    def __init__(self, predicates: Predicates) -> None:
        self._predicates = predicates
        self.choice = predicates.choice

    def relate(self, phrase: NounPhrase, setting: Setting, probability: float) -> None:
        """Give a noun phrase a relative clause with this probability, if it can have one."""
        bare = phrase.owner is None and phrase.determiner in ("der", "ein", "dieser")
        bare = bare or (phrase.determiner == "none" and phrase.number > 0)
        if not bare or not self.choice.chance(probability * self._predicates.detail * 2):
            return
        phrase.relative = self._relative(phrase, setting)

    def _relative(self, phrase: NounPhrase, setting: Setting) -> Phrase | None:
        """Draw a relative clause in which the antecedent is subject, object, prepositional object, place or owner."""
        noun, choice = phrase.noun, self.choice
        gap = RelativePronoun(phrase.gender, is_person(noun), phrase.person)
        nominals = self._predicates.nominals
        own, nominals.detail = nominals.detail, nominals.detail * 0.35
        past = setting.tense in (Tense.PERFECT, Tense.PRETERITE, Tense.FUTURE) or choice.chance(0.4)
        inner = Setting(Tense.PERFECT if past and setting.tense is not Tense.PRETERITE else setting.tense)
        if setting.tense is Tense.PLUPERFECT:
            inner = Setting(Tense.PRETERITE)
        subject_verbs = verbs_of(*noun.classes)[0]
        kinds = [(self._object_gap, 3.0), (self._place_gap, 3.0 if "place" in noun.classes else 0)]
        kinds += [(self._subject_gap, 4.0 if subject_verbs else 0), (self._owner_gap, 1.0 if gap.animate else 0)]
        draw = choice.weighted([kind for kind, _ in kinds], [weight for _, weight in kinds])
        relative = draw(gap, noun, inner)
        nominals.detail = own
        return relative

    def _simple_subject(self) -> Nominal:
        kind = self.choice.weighted(("pronoun", "name", "noun"), (40, 30, 30))
        if kind == "pronoun":
            return PRONOUNS[self.choice.zipf(("er", "sie", "ich", "wir", "sie_plural"))]
        return self._predicates.nominals.name() if kind == "name" else NounPhrase(self.choice.zipf(nouns_of("person")))

    def _subject_gap(self, gap: RelativePronoun, noun: Noun, setting: Setting) -> Phrase | None:
        verb = self._predicates.verb(*noun.classes)
        if verb.name == self._predicates.avoided:
            return None
        clause = self._predicates.complete(verb, gap, setting, False)
        return clause.relative(Role.SUBJECT)

    def _object_gap(self, gap: RelativePronoun, noun: Noun, setting: Setting) -> Phrase | None:
        verbs, weights = verbs_taking(noun.classes, gap.animate)
        if not verbs:
            return None
        verb = self.choice.weighted(verbs, weights)
        if verb.name == self._predicates.avoided:
            return None
        subject, frame = self._simple_subject(), verb.frame
        clause = Clause(verb, setting.ordinary(subject), subject)
        if not set(noun.classes).isdisjoint(frame.accusative):
            role, phrase = Role.DEFINITE, gap.phrase(Case.ACCUSATIVE)
        elif frame.dative and gap.animate:
            role, phrase = Role.DATIVE, dative(gap, to=bool(frame.accusative))
        else:
            role, phrase = Role.PREPOSITIONAL, governed(clause, gap)
        clause.add(role, phrase)
        self._predicates.complements(clause, setting)
        timed = self._predicates.times_left and not clause.heavy and verb.name not in lexicon.STATIC
        if timed and self.choice.chance(0.25):
            self._predicates.times_left -= 1
            clause.add(Role.TIME, self._predicates.adverbials.time(setting.tense))
        return clause.relative(role)

    def _place_gap(self, gap: RelativePronoun, noun: Noun, setting: Setting) -> Phrase | None:
        verb = self.choice.zipf([verb for verb in verbs_of("person")[0] if verb.frame.place == "where"])
        subject = self._simple_subject()
        clause = Clause(verb, setting.ordinary(subject), subject)
        clause.add(Role.COMPLEMENT, prepositional(noun.where, Case.DATIVE, gap))
        return clause.relative(Role.COMPLEMENT)

    def _owner_gap(self, gap: RelativePronoun, noun: Noun, setting: Setting) -> Phrase | None:
        """Draw a clause like "der Mann, dessen Bruder ...", whose subject is a relative of the antecedent."""
        owned = self.choice.zipf(nouns_of("family"))
        clause = self._predicates.clause(setting, NounPhrase(owned, "none"), free=False)
        concept = Concept()
        pronoun_form = word(german.relative_pronoun(gap.gender, Case.GENITIVE), "PRELAT", concept, lemma="der")
        possessed = clause.parts[Role.SUBJECT]
        possessed.german.insert(0, pronoun_form)
        possessed.english.insert(0, word("whose", "PRELAT", concept))
        return clause.relative(Role.SUBJECT)
