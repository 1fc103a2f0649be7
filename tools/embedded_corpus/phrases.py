"""Noun phrases, pronouns and prepositional phrases, built in both languages at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tools.embedded_corpus import english, german
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Adjective, Noun, Pair
from tools.embedded_corpus.numbers import english_number, german_number
from tools.embedded_corpus.words import COMMA, Concept, Phrase, Word, Words, chain, word, words


class Nominal(Protocol):
    """The base class of everything that can be the subject or an object of a clause."""

    @property
    def person(self) -> str:
        """Person and number, as in `german.PERSONS`, with which the verbs of both languages agree."""

    def phrase(self, case: Case) -> Phrase:
        """Return the words in this case, with new concepts at each call."""


POSSESSIVES = {
    "mein": "my",
    "dein": "your",
    "sein": "his",
    "ihr": "her",
    "ihr_plural": "their",
    "unser": "our",
    "euer": "your",
}


@dataclass
class NounPhrase:
    """A noun with its determiner and modifiers.

    `determiner` is der, ein, dieser, jeder, kein, none, a quantifier (viele ...) or a key of POSSESSIVES; `number`
    counts a plural; `owner` is a genitive; `after` an attribute behind the noun; `relative` a relative clause.
    `negation` is the concept a kein shares with the English not, which the clause places.
    """

    noun: Noun
    determiner: str = "der"
    plural: bool = False
    adjectives: Sequence[Adjective] = ()
    number: int = 0
    owner: NounPhrase | Name | None = None
    after: Phrase | None = None
    relative: Phrase | None = None
    quantifier: Pair | None = None
    negation: Concept | None = None

    @property
    def person(self) -> str:
        """The third person, in the number of the noun."""
        return "3p" if self.plural else "3s"

    @property
    def gender(self) -> str:
        """The column of the tables of endings."""
        return "p" if self.plural else self.noun.gender

    @property
    def definite(self) -> bool:
        """True for a definite phrase, which precedes adverbs of place in the middle of the German clause."""
        return self.determiner not in ("ein", "kein", "none") and self.quantifier is None

    def phrase(self, case: Case) -> Phrase:
        """Return the words in this case."""
        de, en = self._determiner(case)
        if self.number:
            concept = Concept()
            de.append(word(german_number(self.number), "CARD", concept))
            en += words(english_number(self.number), "CARD", concept)
        for entry in self.adjectives:
            concept = Concept()
            text = german.adjective(entry.german, self._declension(), self.gender, case)
            de.append(word(text, "ADJA", concept, lemma=entry.german))
            en.append(word(entry.english, "ADJA", concept))
        concept = Concept()
        de.append(word(german.noun(self.noun, self.plural, case), "NN", concept, lemma=self.noun.german))
        form = english.noun(self.noun, self.plural)
        en += [word(part, "NN", concept, lemma=self.noun.english) for part in form.split()]
        if self.owner is not None:
            self._add_owner(de, en)
        if self.determiner in ("ein", "kein") and not self.plural:
            self._fix_article(en)
        if self.after is not None:
            de, en = de + self.after.german, en + self.after.english
        tail = [] if self.relative is None else [COMMA, *self.relative.german, COMMA]
        return Phrase(de, en + ([] if self.relative is None else self.relative.english), tail)

    def _declension(self) -> str:
        if self.determiner in ("der", "dieser", "jeder", "alle"):
            return "weak"
        if self.determiner == "ein" and self.plural:
            return "strong"
        return "strong" if self.determiner in ("none", "quantifier", "name") else "mixed"

    def _determiner(self, case: Case) -> tuple[Words, Words]:
        concept = Concept()
        kind, gender = self.determiner, self.gender
        if kind == "none" or kind == "name" or (kind == "ein" and self.plural):
            return [], []
        if kind == "der":
            text, tag = german.article(gender, case), "ART"
            return [word(text, tag, concept, lemma="der")], [word("the", tag, concept)]
        if kind == "ein":
            text = german.like_ein("ein", gender, case)
            return [word(text, "ART", concept, lemma="ein")], [word("a", "ART", concept)]
        if kind == "kein":
            text = german.like_ein("kein", gender, case)
            concepts = (concept,) if self.negation is None else (concept, self.negation)
            some = "any" if self.plural or self.noun.mass else "a"
            return [word(text, "PIAT", *concepts, lemma="kein")], [word(some, "PIAT", concept)]
        if kind in ("dieser", "jeder"):
            text = german.like_dieser(kind[:-2], gender, case)
            translation = "every" if kind == "jeder" else "these" if self.plural else "this"
            tag = "PIAT" if kind == "jeder" else "PDAT"
            return [word(text, tag, concept, lemma=kind)], [word(translation, tag, concept)]
        if self.quantifier is not None:
            stem = self.quantifier.german[:-1]
            text = german.like_dieser(stem, gender, case)
            return [word(text, "PIAT", concept, lemma=stem)], words(self.quantifier.english, "PIAT", concept)
        stem = kind.partition("_")[0]
        text = german.like_ein(stem, gender, case)
        return [word(text, "PPOSAT", concept, lemma=stem)], [word(POSSESSIVES[kind], "PPOSAT", concept)]

    def _add_owner(self, de: Words, en: Words) -> None:
        """Add the owner: a name comes first; a noun follows in German and replaces the article in English."""
        assert self.owner is not None
        owned = self.owner.phrase(Case.GENITIVE)
        last = owned.english[-1]
        owned.english[-1] = Word(f"{last.text}'s", last.lemma, last.tag, last.concepts)
        if isinstance(self.owner, Name):
            de[:0] = owned.german
            en[:0] = owned.english
        else:
            de += owned.whole
            en[:1] = owned.english

    def _fix_article(self, en: Words) -> None:
        for place, each in enumerate(en[:-1]):
            if each.text == "a":
                text = english.indefinite_article(en[place + 1].text)
                en[place] = Word(text, "a", each.tag, each.concepts)
                return


@dataclass
class Name:
    """The name of a person, with or without Herr or Frau, or of a city."""

    german: str
    english: str
    title: str = ""
    gender: str = "m"
    person: str = "3s"
    definite: bool = True

    def phrase(self, case: Case) -> Phrase:
        """Return the name; the genitive adds -s, and Herr is declined as a weak masculine."""
        concept = Concept()
        de = [word(self.german + ("s" if case is Case.GENITIVE else ""), "NE", concept, lemma=self.german)]
        en = [word(self.english, "NE", concept)]
        if self.title:
            concept = Concept()
            weak = self.title == "Herr" and case is not Case.NOMINATIVE
            de.insert(0, word(self.title + ("n" if weak else ""), "NN", concept, lemma=self.title))
            en.insert(0, word("Mr" if self.title == "Herr" else "Ms", "NN", concept))
        return Phrase(de, en)


@dataclass
class Pronoun:
    """A personal pronoun, given by its nominative forms."""

    german: tuple[str, str, str]
    english: tuple[str, str]
    person: str
    definite: bool = True

    def phrase(self, case: Case) -> Phrase:
        """Return the pronoun in nominative, accusative or dative."""
        concept = Concept()
        text = self.english[0 if case is Case.NOMINATIVE else 1]
        de = word(self.german[case], "PPER", concept, lemma=self.german[0])
        return Phrase([de], [word(text, "PPER", concept, lemma=self.english[0])])


PRONOUNS = {
    "ich": Pronoun(("ich", "mich", "mir"), ("I", "me"), "1s"),
    "du": Pronoun(("du", "dich", "dir"), ("you", "you"), "2s"),
    "er": Pronoun(("er", "ihn", "ihm"), ("he", "him"), "3s"),
    "sie": Pronoun(("sie", "sie", "ihr"), ("she", "her"), "3s"),
    "es": Pronoun(("es", "es", "ihm"), ("it", "it"), "3s"),
    "wir": Pronoun(("wir", "uns", "uns"), ("we", "us"), "1p"),
    "ihr": Pronoun(("ihr", "euch", "euch"), ("you", "you"), "2p"),
    "sie_plural": Pronoun(("sie", "sie", "ihnen"), ("they", "them"), "3p"),
    "Sie": Pronoun(("Sie", "Sie", "Ihnen"), ("you", "you"), "3p"),
}
REFLEXIVES = {"1s": "mich", "2s": "dich", "3s": "sich", "1p": "uns", "2p": "euch", "3p": "sich"}


@dataclass
class RelativePronoun:
    """A relative pronoun for an antecedent of this gender (a column of the tables of endings)."""

    gender: str
    animate: bool
    person: str
    definite: bool = True

    def phrase(self, case: Case) -> Phrase:
        """Return the pronoun. English has who, whom or, for things, that (which after a preposition)."""
        concept = Concept()
        text = ("who" if case is Case.NOMINATIVE else "whom") if self.animate else "that"
        return Phrase(
            [word(german.relative_pronoun(self.gender, case), "PRELS", concept, lemma="der")],
            [word(text, "PRELS", concept)],
        )


@dataclass
class Question:
    """The interrogative pronoun: wer, wen, wem (who, whom) or was (what)."""

    animate: bool
    person: str = "3s"
    definite: bool = True

    def phrase(self, case: Case) -> Phrase:
        """Return the pronoun in this case."""
        concept = Concept()
        de = ("wer", "wen", "wem")[case] if self.animate else "was"
        en = ("who" if case is Case.NOMINATIVE else "whom") if self.animate else "what"
        return Phrase([word(de, "PWS", concept, lemma="wer" if self.animate else "was")], [word(en, "PWS", concept)])


@dataclass
class Coordination:
    """Two or more nominals joined by und: A, B und C."""

    items: Sequence[Nominal]
    definite: bool
    person: str = "3p"

    def phrase(self, case: Case) -> Phrase:
        """Return all items in the same case, with commas between them and und before the last."""
        parts = [item.phrase(case) for item in self.items]
        concept = Concept()
        joint = Phrase([word("und", "KON", concept)], [word("and", "KON", concept)])
        comma = Phrase([COMMA], [COMMA])
        joined = [parts[0]]
        for place, part in enumerate(parts[1:], start=2):
            joined += [joint if place == len(parts) else comma, part]
        return chain(joined)


def prepositional(
    preposition: tuple[str, str], case: Case, nominal: Nominal, *, concept: Concept | None = None
) -> Phrase:
    """Return a prepositional phrase. Article and preposition contract unless a relative clause follows.

    If the English preposition is "-", there is none, and the German one expresses `concept`, that of the verb.
    """
    de_preposition, en_preposition = preposition
    inner = nominal.phrase(case)
    own = Concept() if concept is None or en_preposition != "-" else concept
    first = inner.german[0]
    contracted = german.CONTRACTIONS.get((de_preposition, first.text))
    if first.tag == "ART" and contracted and not inner.tail:
        head = word(contracted, "APPRART", own, *first.concepts, lemma=de_preposition)
        de = [head, *inner.german[1:]]
    else:
        de = [word(de_preposition, "APPR", own), *inner.german]
    en = [] if en_preposition == "-" else words(en_preposition, "APPR", own)
    return Phrase(de, en + (_after_preposition(inner.english) if en else inner.english), inner.tail)


def _after_preposition(en: Words) -> Words:
    if en[0].tag == "PRELS" and en[0].text == "that":
        return [Word("which", "which", "PRELS", en[0].concepts), *en[1:]]
    return en
