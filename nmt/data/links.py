"""Word alignments of training text: from their file to the words of the cleaned text, and to the pieces of these words.

Words are those of `line.split()`. A link between two words links every piece of one with every piece of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data import long_lines
from nmt.data.alignments import Link, check_links, format_links, parse_links
from nmt.data.characters import as_line
from nmt.data.compression import lines
from nmt.data.sources.source import Pair
from nmt.data.tokenizer import Span, Tokenizer
from nmt.data.words import word_spans, words_of_pieces
from nmt.errors import NmtError

Numbers = NDArray[np.integer[Any]]
Ranges = NDArray[np.int32]  # [words, 2]: the first piece of each word, and the one after its last


class PairLinks(NamedTuple):
    """The links of one sentence pair, as the store has them."""

    words: Numbers  # [links, 2]: a source word and a target word
    pieces: Numbers  # [links, 4]: the range of the source word's pieces, and that of the target word's


NO_LINKS = PairLinks(np.empty((0, 2), np.int32), np.empty((0, 4), np.int32))


# -- from the file to cleaned text ----------------------------------------------------------------------------------


class LinkLines(NamedTuple):
    """Consecutive lines of a file of links, as they were read."""

    path: Path
    first: int  # the number of the first line, from 1
    lines: list[str]

    def checked(self, pairs: Sequence[Pair]) -> list[str]:
        """Return a line of links for each pair, with the indices that the words have after cleaning.

        `pairs` are the pairs as they were read, before cleaning. Raises NmtError, naming file and line, for a line that
        is not in Pharaoh format and for a word that the sentence does not have.
        """
        return [self._checked(number, pair) for number, pair in enumerate(pairs)]

    def _checked(self, number: int, pair: Pair) -> str:
        place = f"{self.path}, line {self.first + number}"
        try:
            links = parse_links(self.lines[number]).possible
        except ValueError as error:
            raise NmtError(f"{place}: {error}") from error
        if max(map(len, pair)) > long_lines.LONGEST_LINE:  # its words are not known, and the pair is dropped
            return ""
        check_links(links, (len(pair[0].split()), len(pair[1].split())), place)
        return format_links(_after_mending(links, pair))


class LinkFile:
    """A file of links that is read beside the pairs of its corpus, from any pair on."""

    def __init__(self, path: str, corpus: str, read: int) -> None:
        """Begin after `read` pairs that were read before; `corpus` is the name of the corpus in messages."""
        self._path, self._corpus, self._read = Path(path), corpus, read
        self._lines = islice(lines(self._path), read, None)

    def take(self, pairs: int) -> LinkLines:
        """Return the lines of the next pairs; raises NmtError if the file ends before."""
        taken = LinkLines(self._path, self._read + 1, list(islice(self._lines, pairs)))
        self._read += len(taken.lines)
        if len(taken.lines) < pairs:
            raise NmtError(
                f"{self._path}, line {self._read + 1}: the file ends before this line, but {self._corpus} has more "
                "pairs: line i has to contain the links of pair i"
            )
        return taken

    def end(self) -> None:
        """Raise NmtError if there are more lines after those of the last pair."""
        if next(self._lines, None) is not None:
            raise NmtError(
                f"{self._path}, line {self._read + 1}: {self._corpus} has only {self._read:,} pairs: line i has to "
                "contain the links of pair i"
            )


def _after_mending(links: frozenset[Link], pair: Pair) -> set[Link]:
    """Return links with the indices of words after foreign characters have become spaces.

    Such a character can split a word, whose parts then all have its links, or be a word of its own, which disappears.
    """
    parts = [_parts(line) for line in pair]
    return {(i, j) for source, target in links for i in parts[0][source] for j in parts[1][target]}


def _parts(line: str) -> Sequence[Sequence[int]]:
    """Return, for each word of a line, the indices of its parts among the words of `as_line(line)`."""
    before = word_spans(line)
    if (mended := as_line(line)) == line:
        return [(word,) for word in range(len(before))]
    parts: list[list[int]] = [[] for _ in before]
    for part, (word, *_) in enumerate(words_of_pieces(before, word_spans(mended))):
        parts[word].append(part)
    return parts


# -- from words to pieces -------------------------------------------------------------------------------------------


def link_pieces(tokenizer: Tokenizer, line: str, source: str, target: str, first: int) -> PairLinks:
    """Return the links of a pair, given in Pharaoh format, with the pieces that the tokenizer makes of its words.

    `first` is the position of the first piece of the source text: 1 after a tag, else 0.
    """
    words = np.array(sorted(parse_links(line).possible), np.int32).reshape(-1, 2)
    if not len(words):
        return NO_LINKS
    ranges = (
        piece_ranges(source, tokenizer.locate_source(source).spans, first),
        piece_ranges(target, tokenizer.locate_target(target).spans),
    )
    return PairLinks(words, np.concatenate([ranges[side][words[:, side]] for side in (0, 1)], axis=1))


def piece_ranges(line: str, spans: Sequence[Span], first: int = 0) -> Ranges:
    """Return the range of pieces of each word of a line, given the span of each piece.

    The positions of pieces begin with `first`. A piece that covers several words is in the range of each of them. The
    range of a word that no piece spells is empty.
    """
    words = word_spans(line)
    ranges = np.zeros((len(words), 2), np.int32)
    for piece, covered in enumerate(words_of_pieces(words, spans) if words else (), start=first):
        for word in covered:
            if not ranges[word, 1]:
                ranges[word, 0] = piece
            ranges[word, 1] = piece + 1
    return ranges
