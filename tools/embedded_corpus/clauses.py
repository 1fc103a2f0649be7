"""Clauses: an unordered set of constituents that the rules of each language put into order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Verb
from tools.embedded_corpus.phrases import REFLEXIVES, Nominal
from tools.embedded_corpus.verbs import Modal, Tense, VerbGroup
from tools.embedded_corpus.words import COMMA, Concept, Phrase, Words, word


class Role(IntEnum):
    """The role of a constituent. The value is its position in the middle of the German clause."""

    SUBJECT = 0
    REFLEXIVE = 1
    PRONOUN = 2
    DATIVE_PRONOUN = 3
    TIME = 4
    FREQUENCY = 5
    DATIVE = 6
    DEFINITE = 7
    NEGATION = 8
    MANNER = 9
    PLACE = 10
    INDEFINITE = 11
    PREPOSITIONAL = 12
    COMPLEMENT = 13
    OPENER = 14


# Constituents after the English verb; the subject, adverbs of frequency and "not" come before it.
_ENGLISH_ORDER = (
    Role.PRONOUN,
    Role.DEFINITE,
    Role.INDEFINITE,
    Role.DATIVE_PRONOUN,
    Role.DATIVE,
    Role.PREPOSITIONAL,
    Role.COMPLEMENT,
    Role.MANNER,
    Role.PLACE,
    Role.TIME,
)
# If fronted in German, these are fronted in English, too; objects move back behind the verb.
_FRONTED_IN_ENGLISH = (Role.TIME, Role.PLACE, Role.OPENER)


@dataclass
class Clause:
    """A verb with its subject and its other constituents, which `add` receives in any order."""

    verb: Verb
    tense: Tense
    subject: Nominal
    modal: Modal | None = None
    passive: bool = False
    negation: Concept | None = None
    progressive: bool = False
    lasting: bool = False
    english_person: str = ""
    parts: dict[Role, Phrase] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build what is already known: the verb group, the subject, a reflexive pronoun."""
        self.group = VerbGroup(
            *(self.verb, self.tense, self.subject.person, self.modal, self.passive, self.negation),
            *(self.progressive, self.lasting, self.english_person),
        )
        self.parts[Role.SUBJECT] = self.subject.phrase(Case.NOMINATIVE)
        if self.verb.frame.reflexive:
            reflexive = word(REFLEXIVES[self.subject.person], "PRF", self.group.lexical, lemma="sich")
            self.parts[Role.REFLEXIVE] = Phrase([reflexive], [])

    def add(self, role: Role, phrase: Phrase) -> None:
        """Add a constituent to the clause."""
        self.parts[role] = phrase

    @property
    def heavy(self) -> bool:
        """Return whether a phrase after the English verb has a relative clause, so that no adverbial may follow it."""
        return any(phrase.tail for role, phrase in self.parts.items() if role is not Role.SUBJECT)

    def negate(self) -> None:
        """Add nicht, which expresses the negation of the clause (with kein, no such word is needed)."""
        assert self.negation is not None
        self.parts[Role.NEGATION] = Phrase([word("nicht", "PTKNEG", self.negation)], [])

    def main(self, front: Role | None = Role.SUBJECT, *, opener: Phrase | None = None) -> Phrase:
        """Return a verb-second clause with this constituent, or this opening clause, in front of the verb.

        Without either of them it is the verb-first form. `shared` leaves out a shared subject.
        """
        finite, bracket = self.group.german()
        head = opener.german if opener else self.parts[front].whole if front is not None else []
        before = opener.english if opener else self._english_front(front)
        fronted = None if opener else front
        de = [*head, finite, *self._middle(fronted, bracket)]
        return Phrase(de, [*before, *self._english(fronted)])

    def shared(self) -> Phrase:
        """Return the second half of a coordination whose first half contains the subject."""
        finite, bracket = self.group.german()
        return Phrase([finite, *self._middle(Role.SUBJECT, bracket)], self._english(None, subject=False))

    def final(self, opening: Phrase) -> Phrase:
        """Return a verb-final clause after a subordinator, without its commas."""
        de = [*opening.german, *self._middle(None, self.group.german_final())]
        return Phrase(de, [*opening.english, *self._english(None)])

    def relative(self, front: Role) -> Phrase:
        """Return a verb-final clause that begins with the constituent of the relative pronoun."""
        de = [*self.parts[front].german, *self._middle(front, self.group.german_final())]
        before = [] if front is Role.SUBJECT else self.parts[front].english
        return Phrase(de, [*before, *self._english(front if front is not Role.SUBJECT else None, gap=True)])

    def question(self, front: Role | None = None) -> Phrase:
        """Return a yes-no question, or a question that begins with the constituent of the question word."""
        finite, bracket = self.group.german()
        head = [] if front is None else self.parts[front].german
        de = [*head, finite, *self._middle(front, bracket)]
        if front is Role.SUBJECT:
            return Phrase(de, self._english(None))
        before = [] if front is None else self.parts[front].english
        return Phrase(de, [*before, *self._english(front, gap=True, inverted=True)])

    def to_infinitive(self, opening: Phrase | None = None) -> Phrase:
        """Return an infinitive clause with zu, whose subject is that of the main clause."""
        marker = Concept()
        de = self._middle(Role.SUBJECT, self.group.german_to(marker))
        en = [*self.group.english_to(marker), *self._behind_verb(None, False)]
        return Phrase(de, en) if opening is None else Phrase(opening.german + de, opening.english + en)

    def _middle(self, front: Role | None, bracket: Words) -> Words:
        """Return the constituents in German order without the fronted one; the last tail moves behind the bracket."""
        roles = sorted(role for role in self.parts if role is not front and role is not Role.OPENER)
        if not roles:
            return bracket
        inner = [each for role in roles[:-1] for each in self.parts[role].whole]
        last = self.parts[roles[-1]]
        return [*inner, *last.german, *bracket, *last.tail]

    def _english_front(self, front: Role | None) -> Words:
        if front not in _FRONTED_IN_ENGLISH or front is None:
            return []
        phrase = self.parts[front].english
        return phrase if len(phrase) == 1 or front is Role.OPENER else [*phrase, COMMA]

    def _english(self, front: Role | None, *, subject: bool = True, gap: bool = False, inverted: bool = False) -> Words:
        """Return the English clause from its subject on; with `gap`, the fronted constituent is left out."""
        auxiliary, rest = self.group.english(inverted=inverted)
        if self.negation is not None:
            if auxiliary and auxiliary[0].text == "can":
                auxiliary = [word("cannot", "VMFIN", *auxiliary[0].concepts, self.negation, lemma="can")]
            else:
                auxiliary = [*auxiliary, word("not", "PTKNEG", self.negation)]
        frequency = self.parts[Role.FREQUENCY].english if Role.FREQUENCY in self.parts else []
        first = self.parts[Role.SUBJECT].english if subject else []
        opening = [*auxiliary[:1], *first, *auxiliary[1:]] if inverted else [*first, *auxiliary]
        missing = front if gap or front in _FRONTED_IN_ENGLISH else None
        particles = self._movable_particles()
        body = rest[: len(rest) - particles]
        return [*opening, *frequency, *body, *self._behind_verb(missing, bool(particles), rest[len(body) :])]

    def _movable_particles(self) -> int:
        return len(self.verb.particles) if self.verb.movable and Role.PRONOUN in self.parts else 0

    def _behind_verb(self, missing: Role | None, moved: bool, particles: Words | None = None) -> Words:
        en: Words = []
        for role in _ENGLISH_ORDER:
            if role in self.parts and role is not missing:
                en += self.parts[role].english
            if role is Role.PRONOUN and moved:
                en += particles or []
        return en
