"""The verbs that fit a subject or an object, and the tenses of a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tools.embedded_corpus import lexicon
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Verb
from tools.embedded_corpus.phrases import Nominal, NounPhrase, Pronoun, prepositional
from tools.embedded_corpus.verbs import Tense
from tools.embedded_corpus.words import Phrase, Words, word

# Verbs and the weights with which they are drawn.
Weighted = tuple[list[Verb], list[float]]


def _by_subject() -> dict[str, Weighted]:
    """Return the verbs for each class of subject, with weights that decrease within each section of the table."""
    table: dict[str, Weighted] = {}
    ranks: dict[int, int] = {}
    for verb in lexicon.VERBS:
        rank = ranks[id(verb.frame)] = ranks.get(id(verb.frame), -1) + 1
        size = sum(other.frame is verb.frame for other in lexicon.VERBS)
        if verb.frame.clause:
            continue
        for name in verb.frame.subject:
            verbs, weights = table.setdefault(name, ([], []))
            verbs.append(verb)
            weights.append(verb.frame.share / size * (1 + 2 / (rank + 2)))
    return table


_BY_SUBJECT = _by_subject()
CLAUSE_VERBS = {
    kind: [verb for verb in lexicon.VERBS if verb.frame.clause == kind] for kind in ("that", "whether", "to")
}


@cache
def verbs_of(*classes: str) -> Weighted:
    """Return the verbs for a subject of any of these classes, with their weights."""
    tables = [_BY_SUBJECT[name] for name in classes if name in _BY_SUBJECT]
    return [verb for verbs, _ in tables for verb in verbs], [weight for _, weights in tables for weight in weights]


@cache
def verbs_taking(classes: tuple[str, ...], animate: bool) -> Weighted:
    """Return the verbs with a person as subject and a noun of these classes as object, with their weights."""
    chosen = [
        (verb, weight)
        for verb, weight in zip(*verbs_of("person"), strict=True)
        if not {*verb.frame.accusative, *verb.frame.preposition[3:]}.isdisjoint(classes)
        or (verb.frame.dative and animate)
    ]
    return [verb for verb, _ in chosen], [weight for _, weight in chosen]


@dataclass(frozen=True)
class Setting:
    """The time of a sentence: the tense of ordinary verbs, which determines that of sein, haben and modals."""

    tense: Tense

    @property
    def short(self) -> Tense:
        """The tense of sein, haben and the modals, which do not use the perfect."""
        return Tense.PRETERITE if self.tense in (Tense.PERFECT, Tense.PLUPERFECT) else self.tense

    def ordinary(self, subject: Nominal) -> Tense:
        """Return the tense of other verbs. The preterite of du and ihr is not used."""
        if self.tense is Tense.PRETERITE and subject.person[0] == "2":
            return Tense.PERFECT
        return self.tense


def accusative_role(nominal: Nominal) -> Role:
    """Return the role, and so the German position, of an accusative object."""
    if isinstance(nominal, Pronoun):
        return Role.PRONOUN
    definite = nominal.definite if isinstance(nominal, NounPhrase) else True
    return Role.DEFINITE if definite else Role.INDEFINITE


def dative(nominal: Nominal, *, to: bool) -> Phrase:
    """Return a dative object; next to an accusative, English has "to", linked with the word that shows the case."""
    phrase = nominal.phrase(Case.DATIVE)
    if not to:
        return phrase
    marker: Words = [word("to", "APPR", *phrase.german[0].concepts)]
    return Phrase(phrase.german, marker + phrase.english, phrase.tail)


def governed(clause: Clause, nominal: Nominal) -> Phrase:
    """Return the prepositional object that the frame of the verb requires."""
    preposition, case, translation = clause.verb.frame.preposition[:3]
    chosen = Case.ACCUSATIVE if case == "acc" else Case.DATIVE
    return prepositional((preposition, translation), chosen, nominal, concept=clause.group.lexical)
