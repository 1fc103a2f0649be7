"""The bilingual lexicon: tables written for people, read into small records."""

from __future__ import annotations

from dataclasses import dataclass

from tools.embedded_corpus.lexicon import modifiers, verbs
from tools.embedded_corpus.lexicon.nouns import NOUNS as _NOUN_TABLE


@dataclass(frozen=True)
class Noun:
    """One noun with its translation; `where` and `whereto` are (German, English) prepositions of places."""

    german: str
    gender: str
    genitive: str
    plural: str
    english: str
    english_plural: str
    classes: tuple[str, ...]
    where: tuple[str, str] = ("", "")
    whereto: tuple[str, str] = ("", "")

    @property
    def mass(self) -> bool:
        """True for a mass noun, which has no plural and no indefinite article."""
        return self.plural == "-"


@dataclass(frozen=True)
class Adjective:
    """One adjective; `comparative` is the German comparative stem, empty where none is used."""

    german: str
    comparative: str
    english: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """The valency of a verb: the classes of nouns that can be its subject, and the complements that it takes."""

    subject: tuple[str, ...]
    accusative: tuple[str, ...] = ()
    dative: bool = False
    preposition: tuple[str, ...] = ()
    place: str = ""
    reflexive: bool = False
    clause: str = ""
    share: float = 1.0


@dataclass(frozen=True)
class Verb:
    """One verb reading: German forms, English forms and the frame."""

    prefix: str
    infinitive: str
    present: str
    preterite: str
    participle: str
    auxiliary: str
    english: str
    english_past: str
    english_participle: str
    particles: tuple[str, ...]
    movable: bool
    frame: Frame

    @property
    def name(self) -> str:
        """The German infinitive, prefix and all."""
        return self.prefix + self.infinitive


@dataclass(frozen=True)
class Pair:
    """A fixed expression and its translation, each one or several words."""

    german: str
    english: str


def _read_nouns(table: str) -> tuple[Noun, ...]:
    nouns: list[Noun] = []
    classes: tuple[str, ...] = ()
    for line in table.strip().splitlines():
        if line.startswith("["):
            classes = tuple(line.strip("[]").split())
            continue
        german, gender, genitive, plural, english, *places = line.split()
        singular, _, irregular = english.replace("_", " ").partition("/")
        where, whereto = [tuple(place.split(":")) for place in places] or [("", ""), ("", "")]
        nouns.append(
            Noun(
                *(german, gender, genitive.strip("-"), plural, singular, irregular, classes),
                where=(where[0], where[1]),
                whereto=(whereto[0], whereto[1]),
            )
        )
    return tuple(nouns)


def _read_frame(header: str) -> Frame:
    fields = dict(field.split("=") for field in header.strip("[]").split())
    return Frame(
        subject=tuple(fields["subject"].split(",")),
        accusative=tuple(fields["acc"].split(",")) if "acc" in fields else (),
        dative="dat" in fields,
        preposition=tuple(fields["prep"].split(",")) if "prep" in fields else (),
        place=fields.get("place", ""),
        reflexive="refl" in fields,
        clause=fields.get("clause", ""),
        share=float(fields.get("share", 1)),
    )


def _read_verbs(table: str) -> tuple[Verb, ...]:
    entries: list[Verb] = []
    frame = Frame(())
    for line in table.strip().splitlines():
        if line.startswith("["):
            frame = _read_frame(line)
            continue
        german, present, preterite, participle, auxiliary, english, *particles = line.split()
        prefix, _, infinitive = german.rpartition("|")
        base, past, english_participle = english.split("/") if "/" in english else (english, "", "")
        movable = bool(particles) and particles[0].startswith("|")
        entries.append(
            Verb(
                *(prefix, infinitive, present.strip("-"), preterite.strip("-"), participle.strip("-"), auxiliary),
                *(base, past, english_participle, tuple(word.strip("|") for word in particles), movable, frame),
            )
        )
    return tuple(entries)


def _read_adjectives(table: str) -> tuple[Adjective, ...]:
    adjectives: list[Adjective] = []
    for line in table.strip().splitlines():
        german, comparative, english, classes = line.split()
        stem = {"-": german, "!": ""}.get(comparative, comparative)
        adjectives.append(Adjective(german, stem, english, tuple(classes.split(","))))
    return tuple(adjectives)


def _read_pairs(table: str) -> tuple[Pair, ...]:
    lines = table.strip().splitlines() if " = " in table else table.split()
    halves = (line.split("=") for line in lines)
    return tuple(Pair(de.strip().replace("_", " "), en.strip().replace("_", " ")) for de, en in halves)


NOUNS = _read_nouns(_NOUN_TABLE)
VERBS = _read_verbs(verbs.VERBS)
ADJECTIVES = _read_adjectives(modifiers.ADJECTIVES)
PAST_TIMES = _read_pairs(modifiers.PAST_TIMES)
PRESENT_TIMES = _read_pairs(modifiers.PRESENT_TIMES)
FUTURE_TIMES = _read_pairs(modifiers.FUTURE_TIMES)
WEEKDAYS = _read_pairs(modifiers.WEEKDAYS)
MONTHS = _read_pairs(modifiers.MONTHS)
SEASONS = _read_pairs(modifiers.SEASONS)
FREQUENCIES = _read_pairs(modifiers.FREQUENCIES)
MANNERS = _read_pairs(modifiers.MANNERS)
SENTENCE_ADVERBS = _read_pairs(modifiers.SENTENCE_ADVERBS)
SEQUENCE_ADVERBS = _read_pairs(modifiers.SEQUENCE_ADVERBS)
QUANTIFIERS = _read_pairs(modifiers.QUANTIFIERS)
CITIES = _read_pairs(modifiers.CITIES)
COUNTRIES = _read_pairs(modifiers.COUNTRIES)
SUBORDINATORS = _read_pairs(modifiers.SUBORDINATORS)
MEN = tuple(modifiers.MEN.split())
WOMEN = tuple(modifiers.WOMEN.split())
SURNAMES = tuple(modifiers.SURNAMES.split())
STATES = frozenset(verbs.STATES.split())
STATIC = frozenset(verbs.STATIC.split())
INVOLUNTARY = STATIC | frozenset(verbs.INVOLUNTARY.split())
LASTING = frozenset(verbs.LASTING.split())
ENDURING = frozenset(verbs.ENDURING.split())
LISTING = frozenset(verbs.LISTING.split())


def noun(german: str) -> Noun:
    """The first noun spelled so; KeyError where there is none."""
    for entry in NOUNS:
        if entry.german == german:
            return entry
    raise KeyError(german)


def verb(infinitive: str, *, subject: str = "", accusative: str = "") -> Verb:
    """The first verb of this name that takes these classes of subject and accusative; KeyError where there is none."""
    for entry in VERBS:
        frame = entry.frame
        fits = (not subject or subject in frame.subject) and (not accusative or accusative in frame.accusative)
        if fits and entry.name == infinitive:
            return entry
    raise KeyError(infinitive)


def adjective(german: str) -> Adjective:
    """The adjective spelled so; KeyError where there is none."""
    for entry in ADJECTIVES:
        if entry.german == german:
            return entry
    raise KeyError(german)
