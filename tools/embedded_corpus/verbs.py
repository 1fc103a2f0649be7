"""The verb group: one verb with tense, modal, voice and polarity, as German and English express it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tools.embedded_corpus import english, german
from tools.embedded_corpus.lexicon import Frame, Verb
from tools.embedded_corpus.words import Concept, Word, Words, word, words


class Tense(Enum):
    """The German tenses; perfect and preterite are both the English simple past."""

    PRESENT = "present"
    PERFECT = "perfect"
    PRETERITE = "preterite"
    PLUPERFECT = "pluperfect"
    FUTURE = "future"

    @property
    def past(self) -> bool:
        """True if English uses the simple past for this tense."""
        return self in (Tense.PERFECT, Tense.PRETERITE)


@dataclass(frozen=True)
class Modal:
    """A modal verb: English auxiliary and what follows a possible "not", in present and past ("" for forms of be)."""

    german: str
    present: tuple[str, str]
    past: tuple[str, str]


MODALS = {
    "können": Modal("können", ("can", ""), ("could", "")),
    "müssen": Modal("müssen", ("must", ""), ("had", "to")),
    "wollen": Modal("wollen", ("want", "to"), ("wanted", "to")),
    "sollen": Modal("sollen", ("should", ""), ("", "supposed to")),
    "dürfen": Modal("dürfen", ("may", ""), ("", "allowed to")),
}
# Modals that are full verbs in English and would need "do" in negations and questions.
LEXICAL_MODALS = ("müssen", "wollen")


BE = Verb("", "sein", "ist", "war", "gewesen", "s", "be", "was", "been", (), False, Frame(("person",)))


@dataclass
class VerbGroup:
    """One verb in its form in a sentence, agreeing with `person`.

    `negation` is the concept of "not"; `progressive` gives "is reading", `lasting` gives "has lived" (German present).
    English agrees with `english_person` if it differs: es gibt, there are.
    """

    verb: Verb
    tense: Tense
    person: str
    modal: Modal | None = None
    passive: bool = False
    negation: Concept | None = None
    progressive: bool = False
    lasting: bool = False
    english_person: str = ""

    def __post_init__(self) -> None:
        """Make the concepts: the finite part, the lexical part, and the "be" of a passive infinitive."""
        self._finite, self._lexical, self._voice = Concept(), Concept(), Concept()

    @property
    def _english_person(self) -> str:
        return self.english_person or self.person

    @property
    def lexical(self) -> Concept:
        """The concept of the main verb, for words that belong to it, such as sich or an empty preposition."""
        return self._lexical

    def german(self) -> tuple[Word, Words]:
        """Return the finite verb and the right bracket in verb-second order."""
        verb, tense = self.verb, self.tense
        if self.modal is not None:
            rest = [self._participle(), word("werden", "VAINF", self._voice)] if self.passive else [self._infinitive()]
            return self._german_finite(self.modal.german, "VMFIN", past=tense.past), rest
        if self.passive:
            return self._german_finite("werden", "VAFIN", past=tense.past), [self._participle()]
        if tense is Tense.FUTURE:
            return self._german_finite("werden", "VAFIN"), [self._infinitive()]
        if tense in (Tense.PERFECT, Tense.PLUPERFECT):
            auxiliary = "sein" if verb.auxiliary == "s" else "haben"
            finite = self._german_finite(auxiliary, "VAFIN", past=tense is Tense.PLUPERFECT)
            return finite, [self._participle()]
        if tense is Tense.PRETERITE:
            form = german.preterite(verb.infinitive, self.person, verb.preterite)
        else:
            form = german.present(verb.infinitive, self.person, verb.present)
        tag = "VAFIN" if verb.infinitive in ("sein", "haben", "werden") else "VVFIN"
        finite = word(form, tag, self._finite, self._lexical, lemma=self.verb.name)
        return finite, [word(verb.prefix, "PTKVZ", self._lexical, lemma=self.verb.name)] if verb.prefix else []

    def german_final(self) -> Words:
        """Return the verbs of a verb-final clause, with the prefix joined to its verb."""
        finite, bracket = self.german()
        if bracket and bracket[-1].tag == "PTKVZ":
            prefix = bracket.pop()
            finite = Word(prefix.text + finite.text, finite.lemma, finite.tag, finite.concepts)
        return [*bracket, finite]

    def german_to(self, marker: Concept) -> Words:
        """Return the infinitive with zu, which comes after a separable prefix, inside the word: aufzustehen."""
        if self.verb.prefix:
            text = f"{self.verb.prefix}zu{self.verb.infinitive}"
            return [word(text, "VVIZU", marker, self._finite, self._lexical, lemma=self.verb.name)]
        return [word("zu", "PTKZU", marker), self._infinitive()]

    def english(self, *, inverted: bool = False) -> tuple[Words, Words]:
        """Return the auxiliary that may come before the subject (or nothing), and the other verbs without "not"."""
        base = self.verb.english
        if self.modal is not None:
            return self._english_modal(self.modal)
        if self.passive:
            auxiliary = english.be(self._english_person, past_tense=self.tense.past)
            return [word(auxiliary, "VAFIN", self._finite, lemma="be")], self._english_lexical("participle")
        if base == "be" and self.tense is not Tense.FUTURE:
            form = english.be(self._english_person, past_tense=self.tense.past)
            return [word(form, "VAFIN", self._finite, self._lexical, lemma="be")], []
        if self.tense is Tense.FUTURE:
            return [word("will", "VAFIN", self._finite)], self._english_lexical("base")
        if self.tense is Tense.PLUPERFECT:
            return [word("had", "VAFIN", self._finite, lemma="have")], self._english_lexical("participle")
        if self.lasting:
            text = "has" if self._english_person == "3s" else "have"
            return [word(text, "VAFIN", self._finite, lemma="have")], self._english_lexical("participle")
        if self.progressive:
            return [word(english.be(self._english_person), "VAFIN", self._finite, lemma="be")], self._english_lexical(
                "ing"
            )
        if inverted or self.negation is not None:
            text = "did" if self.tense.past else "does" if self._english_person == "3s" else "do"
            return [word(text, "VAFIN", self._finite, lemma="do")], self._english_lexical("base")
        form = "past" if self.tense.past else "third" if self._english_person == "3s" else "base"
        return [], self._english_lexical(form, finite=True)

    def english_to(self, marker: Concept) -> Words:
        """Return the infinitive with to."""
        return [word("to", "PTKZU", marker), *self._english_lexical("base", finite=True)]

    def _english_modal(self, modal: Modal) -> tuple[Words, Words]:
        first, rest = modal.past if self.tense.past else modal.present
        if not first:
            first = english.be(self._english_person, past_tense=True)
        elif first == "want" and self._english_person == "3s":
            first = "wants"
        passive = [word("be", "VAINF", self._voice)] if self.passive else []
        main = self._english_lexical("participle" if self.passive else "base")
        modal_words = [word(first, "VMFIN", self._finite), *words(rest, "VMFIN", self._finite)]
        if modal.german in LEXICAL_MODALS and rest:
            return [], modal_words + passive + main
        return modal_words[:1], modal_words[1:] + passive + main

    def _english_lexical(self, form: str, finite: bool = False) -> Words:
        verb = self.verb
        text = {
            "base": verb.english,
            "third": english.third_person(verb.english),
            "past": english.past(verb),
            "participle": english.participle(verb),
            "ing": english.progressive(verb.english),
        }[form]
        concepts = (self._finite, self._lexical) if finite else (self._lexical,)
        lemma = " ".join((verb.english, *verb.particles))
        head = word(text, "VVFIN", *concepts, lemma=lemma)
        return [head, *(word(each, "PTKVZ", self._lexical, lemma=lemma) for each in verb.particles)]

    def _german_finite(self, infinitive: str, tag: str, *, past: bool = False) -> Word:
        form = german.preterite(infinitive, self.person) if past else german.present(infinitive, self.person)
        return word(form, tag, self._finite, lemma=infinitive)

    def _infinitive(self) -> Word:
        return word(self.verb.name, "VVINF", self._lexical, lemma=self.verb.name)

    def _participle(self) -> Word:
        return word(german.participle(self.verb), "VVPP", self._lexical, lemma=self.verb.name)
