"""Sampling of nominals: people, animals and things."""

from __future__ import annotations

from collections.abc import Sequence

from tools.embedded_corpus import lexicon
from tools.embedded_corpus.choice import Choice
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Adjective, Noun
from tools.embedded_corpus.phrases import (
    PRONOUNS,
    Coordination,
    Name,
    Nominal,
    NounPhrase,
    Pronoun,
    RelativePronoun,
)

_BY_CLASS: dict[str, list[Noun]] = {}
for _noun in lexicon.NOUNS:
    for _class in _noun.classes:
        _BY_CLASS.setdefault(_class, []).append(_noun)
_ADJECTIVES = {
    noun: [entry for entry in lexicon.ADJECTIVES if not set(entry.classes).isdisjoint(noun.classes)]
    for noun in lexicon.NOUNS
}
_SUBJECT_PRONOUNS = tuple(PRONOUNS[key] for key in ("er", "sie", "ich", "wir", "sie_plural", "du", "ihr"))
# Accusative sie is always "her" in this corpus, never "them", so that the source determines the translation.
_OBJECT_PRONOUNS = tuple(PRONOUNS[key] for key in ("er", "sie", "ich", "wir", "du", "ihr"))
_DATIVE_PRONOUNS = (*_OBJECT_PRONOUNS, PRONOUNS["sie_plural"])
_POSSESSIVES = {"1s": "mein", "2s": "dein", "1p": "unser", "2p": "euer", "3p": "ihr_plural"}
# Adjectives of age and colour are next to the noun in both languages, without a comma before them.
_INNER = ("alt", "jung", "neu", "rot", "schwarz", "blau", "grün", "weiß", "gelb", "braun", "grau")
_NUMEROUS = {"person", "animal", "object", "document", "food", "clothing"}
_SMALL_NUMBERS = (2, 3, 4, 5, 6, 10, 7, 8, 12, 9, 20, 11, 15, 30, 14, 25, 21, 13, 16, 18, 50, 17, 19, 40, 24)


def nouns_of(*classes: str) -> list[Noun]:
    """Return the nouns of these classes, the most common first in each class."""
    return [noun for name in classes for noun in _BY_CLASS[name]]


def adjectives_of(noun: Noun) -> list[Adjective]:
    """Return the adjectives that can describe a noun."""
    return _ADJECTIVES[noun]


def is_person(noun: Noun) -> bool:
    """Return whether English refers to the noun with who."""
    return "person" in noun.classes or "family" in noun.classes


def possessive(nominal: Nominal) -> str:
    """Return the possessive that refers to a subject; empty if its translation would be ambiguous."""
    if nominal.person != "3s":
        return "" if nominal is PRONOUNS["Sie"] else _POSSESSIVES[nominal.person]
    gender = ""
    if isinstance(nominal, Pronoun):
        gender = {"er": "m", "sie": "f"}.get(nominal.german[0], "")
    elif isinstance(nominal, Name):
        gender = nominal.gender
    elif isinstance(nominal, RelativePronoun):
        gender = nominal.gender if nominal.animate else ""
    elif isinstance(nominal, NounPhrase) and is_person(nominal.noun):
        gender = nominal.gender
    return {"m": "sein", "f": "ihr"}.get(gender, "")


def pronoun(nominal: Nominal) -> Pronoun | None:
    """Return the personal pronoun that refers to a person, or None if it would be ambiguous."""
    if isinstance(nominal, Pronoun):
        return None if nominal.german[0] == "es" else nominal
    if isinstance(nominal, NounPhrase) and not is_person(nominal.noun):
        return None
    return PRONOUNS.get({"sein": "er", "ihr": "sie", "ihr_plural": "sie_plural"}.get(possessive(nominal), ""))


class Nominals:
    """A sampler of noun phrases; `detail` from 0 to 1 says how richly they are modified."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.detail = 0.3

    def adjectives(self, noun: Noun) -> list[Adjective]:
        """Draw zero, one or two adjectives that fit the noun."""
        known = adjectives_of(noun)
        if not known or not self.choice.chance(0.2 + 0.5 * self.detail):
            return []
        first = self.choice.zipf(known)
        inner = [entry for entry in known if entry.german in _INNER]
        if first in inner or not inner or not self.choice.chance(0.3 * self.detail):
            return [first]
        return [first, self.choice.zipf(inner)]

    def thing(self, noun: Noun, subject: Nominal | None = None, *, definite: bool = False) -> NounPhrase:
        """Draw a noun phrase for an animal or a thing, possibly several or owned by the subject."""
        choice = self.choice
        adjectives = self.adjectives(noun)
        if noun.mass:
            determiner = "der" if definite or "stuff" not in noun.classes or choice.chance(0.3) else "none"
            return NounPhrase(noun, determiner, adjectives=adjectives)
        kinds = ["der", "der plural", "ein", "number", "own", "dieser", "ein plural", "quantifier", "owned", "jeder"]
        weights = [35, 8, 22, 9, 9, 5, 6, 5, 5, 1] if not definite else [35, 8, 0, 0, 9, 5, 0, 0, 5, 0]
        kind = choice.weighted(kinds, weights)
        own = "" if subject is None else possessive(subject)
        if kind == "own" and own:
            return NounPhrase(noun, own, choice.chance(0.25), adjectives)
        if kind == "number":
            return self.counted(noun, adjectives)
        if kind == "quantifier":
            quantifier = choice.zipf(lexicon.QUANTIFIERS)
            stem = "alle" if quantifier.german == "alle" else "quantifier"
            return NounPhrase(noun, stem, True, adjectives, quantifier=quantifier)
        if kind == "owned":
            owner = self.owner()
            determiner = "name" if isinstance(owner, Name) else "der"
            return NounPhrase(noun, determiner, choice.chance(0.2), adjectives, owner=owner)
        determiner, _, plural = kind.partition(" ")
        return NounPhrase(noun, "der" if determiner == "own" else determiner, bool(plural), adjectives)

    def counted(self, noun: Noun, adjectives: Sequence[Adjective] = ()) -> NounPhrase:
        """Draw a plural of two or more, with the number spelled out."""
        number = self.choice.zipf(_SMALL_NUMBERS if not _NUMEROUS.isdisjoint(noun.classes) else _SMALL_NUMBERS[:9])
        if not _NUMEROUS.isdisjoint(noun.classes) and self.choice.chance(0.07):
            number = self.choice.between(21, 999)
        return NounPhrase(noun, "none", True, adjectives, number=number + (1 if number % 100 == 1 else 0))

    def owner(self) -> NounPhrase | Name:
        """Draw a genitive attribute: a name or one person."""
        if self.choice.chance(0.4):
            return self.name()
        noun = self.choice.zipf(nouns_of("person"))
        return NounPhrase(noun, adjectives=self.adjectives(noun)[:1])

    def name(self) -> Name:
        """Draw a first name, or Herr or Frau with a surname."""
        if self.choice.chance(0.25):
            title = self.choice.zipf(("Herr", "Frau"))
            surname = self.choice.zipf(lexicon.SURNAMES)
            return Name(surname, surname, title, "m" if title == "Herr" else "f")
        gender = self.choice.zipf(("f", "m"))
        first = self.choice.zipf(lexicon.WOMEN if gender == "f" else lexicon.MEN)
        return Name(first, first, "", gender)

    def relative_of(self, subject: Nominal | None) -> NounPhrase:
        """Draw a family member of the subject or of somebody else."""
        noun = self.choice.zipf(nouns_of("family"))
        own = "" if subject is None else possessive(subject)
        plural = self.choice.chance(0.1) and noun.german not in ("Mutter", "Vater")
        if own and self.choice.chance(0.7):
            return NounPhrase(noun, own, plural, self.adjectives(noun)[:1])
        if self.choice.chance(0.3):
            return NounPhrase(noun, "name", plural, owner=self.name())
        return NounPhrase(noun, self.choice.zipf(("mein", "unser", "dein")), plural, self.adjectives(noun)[:1])

    def described_person(self, *, definite: bool = False) -> NounPhrase:
        """Draw a person described by a trade or a kind."""
        choice = self.choice
        noun = choice.zipf(nouns_of("person") if choice.chance(0.5) else nouns_of("person")[36:])
        adjectives = self.adjectives(noun)
        kind = choice.weighted(
            ("der", "der plural", "ein", "dieser", "quantifier", "number", "jeder"),
            (50, 13, 0, 6, 0, 0, 0) if definite else (50, 13, 14, 6, 4, 3, 2),
        )
        if kind == "quantifier":
            return NounPhrase(noun, "quantifier", True, adjectives, quantifier=choice.zipf(lexicon.QUANTIFIERS[:3]))
        if kind == "number":
            return self.counted(noun, adjectives)
        determiner, _, plural = kind.partition(" ")
        return NounPhrase(noun, determiner, bool(plural), adjectives)

    def subject(self, *, definite: bool = False) -> Nominal:
        """Draw a person as a subject."""
        kind = self.choice.weighted(("noun", "name", "family", "pronoun", "names"), (52, 16, 9, 20, 3))
        if kind == "pronoun":
            return self.choice.zipf(_SUBJECT_PRONOUNS)
        if kind == "names":
            first, second = self.choice.zipf(lexicon.WOMEN), self.choice.zipf(lexicon.MEN)
            return Coordination((Name(first, first), Name(second, second)), True)
        if kind == "name":
            return self.name()
        if kind == "family":
            return self.relative_of(None)
        return self.described_person(definite=definite)

    def other_person(self, subject: Nominal, case: Case, *, family: bool = True, definite: bool = False) -> Nominal:
        """Draw a person as an object who is not the subject."""
        kind = self.choice.weighted(("noun", "name", "family", "pronoun"), (50, 16, 14 if family else 0, 16))
        if kind == "pronoun":
            known = _DATIVE_PRONOUNS if case is Case.DATIVE else _OBJECT_PRONOUNS
            drawn = self.choice.zipf(known)
            clash = drawn.person == subject.person or drawn.person[0] == subject.person[0] != "3"
            if not clash and not (drawn.person[0] == "2" and subject is PRONOUNS["Sie"]):
                return drawn
        if kind == "name":
            return self.name()
        if kind == "family":
            return self.relative_of(subject)
        person = self.described_person(definite=definite)
        if isinstance(subject, NounPhrase) and person.noun is subject.noun:
            return self.name()
        return person

    def list_of(self, classes: Sequence[str], count: int) -> Coordination:
        """Draw an enumeration of things of one kind: drei Äpfel, ein Brot und Milch."""
        pool = nouns_of(*classes)
        drawn: list[Noun] = []
        while len(drawn) < count:
            noun = self.choice.zipf(pool)
            if noun not in drawn:
                drawn.append(noun)
        bare = self.choice.chance(0.3)
        items = []
        for noun in drawn:
            adjectives = self.adjectives(noun)[:1]
            if noun.mass:
                items.append(NounPhrase(noun, "none", adjectives=adjectives))
            elif bare or self.choice.chance(0.5):
                items.append(NounPhrase(noun, "ein", bare, adjectives))
            else:
                counted = self.counted(noun, adjectives)
                counted.number = min(counted.number, 50)
                items.append(counted)
        return Coordination(items, definite=False)
