"""Words, bilingual phrases, and how they become a line of text and its gold links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


class Concept:
    """A part of the meaning. Words of the two languages that express the same concept are linked."""

    __slots__ = ()


@dataclass(frozen=True)
class Word:
    """One token with its dictionary form, its part of speech (STTS on the German side) and its concepts."""

    text: str
    lemma: str
    tag: str
    concepts: tuple[Concept, ...] = ()


COMMA = Word(",", ",", "$,")

Words = list[Word]

_PREPOSITIONS = {"am": "APPRART", "im": "APPRART", "zum": "APPRART", "um": "APPR", "zu": "APPR"}
_ATTRIBUTES = (("letzt", "ADJA", "letzt"), ("nächst", "ADJA", "nächst"), ("jed", "PIAT", "jeder"))


@dataclass
class Phrase:
    """A constituent in both languages; `tail` is the part of the German that may move behind the verb."""

    german: Words
    english: Words
    tail: Words = field(default_factory=list)

    @property
    def whole(self) -> Words:
        """The German words, with the tail at its normal place."""
        return self.german + self.tail


def word(text: str, tag: str, *concepts: Concept, lemma: str = "") -> Word:
    """Return a word whose lemma, if not given, is the text itself."""
    return Word(text, lemma or text, tag, concepts)


def words(text: str, tag: str, *concepts: Concept) -> Words:
    """Return the words of a fixed expression, which all have the same tag and concepts."""
    return [word(part, tag, *concepts) for part in text.split()]


def fixed(german: str, english: str, tag: str) -> Phrase:
    """Return a fixed expression in both languages, linked word by word if the lengths are equal, else as a whole.

        A contraction, am or im, is linked with an English preposition and its article.
    `tag` is the part of speech of its small words. German capitals mark the nouns.
    """
    left, right = german.split(), english.split()
    if left[0] in ("am", "im") and right[1] == "the":
        inner = fixed(" ".join(left[1:]), " ".join(right[2:]), tag)
        concept = Concept()
        contracted = word(left[0], "APPRART", concept, lemma={"am": "an", "im": "in"}[left[0]])
        return Phrase([contracted, *inner.german], words(" ".join(right[:2]), "APPRART", concept) + inner.english)
    concepts = [Concept() for _ in left] if len(left) == len(right) else [Concept()] * max(len(left), len(right))
    return Phrase(
        [_small_word(text, tag, concept) for text, concept in zip(left, concepts, strict=False)],
        [word(text, tag, concept) for text, concept in zip(right, concepts, strict=False)],
    )


def _small_word(text: str, tag: str, concept: Concept) -> Word:
    """Return a German word of a fixed expression: a noun, preposition or attribute (letzte Woche), or with this tag."""
    if text[0].isupper():
        return word(text, "NN", concept)
    for stem, kind, lemma in _ATTRIBUTES:
        if text.startswith(stem):
            return word(text, kind, concept, lemma=lemma)
    return word(text, _PREPOSITIONS.get(text, tag), concept)


def chain(phrases: Iterable[Phrase]) -> Phrase:
    """Join phrases in the same order on both sides into one phrase."""
    parts = list(phrases)
    return Phrase([w for part in parts for w in part.whole], [w for part in parts for w in part.english])


@dataclass(frozen=True)
class Line:
    """One side of a sentence as written: words, with punctuation attached to the word before it."""

    text: str
    words: tuple[Word, ...]

    @property
    def skeleton(self) -> tuple[str, ...]:
        """The parts of speech of the words, without punctuation."""
        return tuple(each.tag for each in self.words)


def write(sequence: Words, stop: str) -> Line:
    """Make a line from words and comma marks. Adjacent commas become one, and none begins or ends the sentence."""
    written: list[str] = []
    kept: Words = []
    for each in sequence:
        if each is not COMMA:
            written.append(each.text)
            kept.append(each)
        elif written and not written[-1].endswith(","):
            written[-1] += ","
    written[-1] = written[-1].rstrip(",") + stop
    text = " ".join(written)
    return Line(text[0].upper() + text[1:], tuple(kept))


def links(german: Line, english: Line) -> tuple[tuple[int, int], ...]:
    """Return the gold alignment: the sorted pairs of positions whose words share a concept."""
    return tuple(
        (i, j)
        for i, left in enumerate(german.words)
        for j, right in enumerate(english.words)
        if any(concept in right.concepts for concept in left.concepts)
    )
