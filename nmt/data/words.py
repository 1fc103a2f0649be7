"""The words of a line, and the words that each token of the line belongs to."""

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
    """Return the words of a line, and for each piece the range of words that it belongs to.

    A piece that is not text (its span is None) belongs to one more "word" after the last: the end of sentence.
    """
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
    """Return the span (start, end) of each word that `line.split()` returns."""
    return [match.span() for match in re.finditer(r"\S+", line)]


def split_punctuation(line: str, words: Sequence[Span], pieces: Sequence[Span]) -> list[Span]:
    """Split punctuation off the edges of words: "»Ja...!" becomes », Ja, ... and !.

    A word is split only where a piece begins, because attention has a single weight for a whole piece. A run of the
    same punctuation mark stays together.
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
    """Return the range of words, counted from 0, that each piece overlaps, given the spans of words and pieces.

    A piece can overlap several words, for example a single unknown token for several unknown words. A piece that
    overlaps none, such as a space, belongs to the next word, or to the last word if there is no next one.
    """
    starts, ends = [start for start, _ in words], [end for _, end in words]
    found = []
    for start, end in pieces:
        first, behind = bisect_right(ends, start), bisect_left(starts, end)
        first = min(first, max(len(words) - 1, 0))
        found.append(range(first, max(behind, first + 1)))
    return found


def without_punctuation(word: str) -> str:
    """Return a word without the punctuation at its edges; empty if it has nothing else."""
    apart = split_punctuation(word, [(0, len(word))], [(place, place) for place in range(len(word))])
    return next((word[slice(*span)] for span in apart if not _is_punctuation(word[span[0]])), "")


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")
