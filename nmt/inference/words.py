"""The words of a line, and which of them each piece of its tokenization lies in."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from nmt.config.languages import is_unspaced

if TYPE_CHECKING:
    from nmt.data.tokenizer import Span


def units_of(
    line: str, pieces: Sequence[Span | None], language: str, punctuation_apart: bool
) -> tuple[list[str], list[range]]:
    """The words of a line and which of them each piece lies in; what is no text is one more, the end of sentence."""
    spans = [span for span in pieces if span is not None]
    words = word_spans(line)
    if is_unspaced(language) and len(words) == 1:
        words = [span for span in spans if line[slice(*span)].strip()] or words
    elif punctuation_apart:
        words = split_punctuation(line, words, spans)
    end = range(len(words), len(words) + 1)
    of_text = iter(words_of_pieces(words, spans))
    return [line[slice(*span)].strip() for span in words], [end if span is None else next(of_text) for span in pieces]


def word_spans(line: str) -> list[Span]:
    """Where in a line each of the words stands that `line.split()` gives."""
    return [match.span() for match in re.finditer(r"\S+", line)]


def split_punctuation(line: str, words: Sequence[Span], pieces: Sequence[Span]) -> list[Span]:
    """Split punctuation off the edges of words: "»Ja...!" becomes », Ja, ... and !.

    A word is split only where a piece begins, since what the model read as one piece has one attention. Equal signs in
    a row stay together.
    """
    begins = {start for start, _ in pieces}
    found = []
    for start, end in words:
        word = line[start:end]
        core = next((place for place in range(len(word)) if not _is_punctuation(word[place])), len(word))
        tail = next((place for place in range(len(word), core, -1) if not _is_punctuation(word[place - 1])), core)
        edges = [
            edge for edge in (*range(1, core + 1), *range(tail, len(word))) if word[edge - 1] != word[edge : edge + 1]
        ]
        cuts = sorted({start + edge for edge in edges} & begins)
        found += list(pairwise([start, *(cut for cut in cuts if start < cut < end), end]))
    return found


def words_of_pieces(words: Sequence[Span], pieces: Sequence[Span]) -> list[range]:
    """The words that each piece lies in, counted from 0, given where in the line words and pieces stand.

    A piece with characters of several words, such as one for all that is unknown in a row, belongs to each of them; one
    without any, such as a space, to the word that follows it or, behind the last, to that.
    """
    starts, ends = [start for start, _ in words], [end for _, end in words]
    found = []
    for start, end in pieces:
        first, behind = bisect_right(ends, start), bisect_left(starts, end)
        first = min(first, max(len(words) - 1, 0))
        found.append(range(first, max(behind, first + 1)))
    return found


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")
