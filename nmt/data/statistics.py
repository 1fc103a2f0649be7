"""Statistics of prepared data: lengths, characters, tokens, and overlap with other text.

Everything is counted in one pass over the memory-mapped store, a block of rows at a time, so a larger corpus takes more
time but not more memory. Lengths are counted as histograms: counts[n] sentences have n words (characters, tokens).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.data.store import SIDES, Flat, Store
from nmt.data.tokenizer import EOS, Model

Counts = NDArray[np.int64]
_WHITE_SPACE = [code for code in range(sys.maxunicode + 1) if chr(code).isspace()]
RATIO_EDGES = np.linspace(-3, 3, 61)  # edges of the histogram of log2(target characters / source characters)


def _no_counts() -> Counts:
    return np.zeros(0, dtype=np.int64)


@dataclass
class SideCounts:
    """Counts of one side of a text. Tokens are pieces of text only: EOS and tags are not counted."""

    words: Counts = field(default_factory=_no_counts)  # sentences by number of words, as split by str.split()
    characters: Counts = field(default_factory=_no_counts)  # sentences by number of characters
    tokens: Counts = field(default_factory=_no_counts)  # sentences by number of tokens
    ids: Counts = field(default_factory=_no_counts)  # occurrences of each id of the vocabulary
    code_points: Counts = field(default_factory=_no_counts)  # occurrences of each Unicode character

    def add(self, text: Flat, ids: Flat, model: Model) -> Counts:
        """Count further sentences, with normalised white space, and return the number of characters of each."""
        characters = _per_sentence((text.values & 0xC0) != 0x80, text.offsets)  # first bytes of UTF-8 characters
        pieces = ~np.isin(ids.values, [EOS, *model.tags.values()])
        code_points = np.frombuffer(text.values.tobytes().decode().encode("utf-32-le"), dtype="<u4")
        words = _words(code_points, np.concatenate(([0], np.cumsum(characters))))
        self.words = _sum(self.words, np.bincount(words))
        self.characters = _sum(self.characters, np.bincount(characters))
        self.tokens = _sum(self.tokens, np.bincount(_per_sentence(pieces, ids.offsets)))
        self.ids = _sum(self.ids, np.bincount(ids.values[pieces]))
        self.code_points = _sum(self.code_points, np.bincount(code_points))
        return characters


@dataclass
class TextCounts:
    """Counts of a parallel text."""

    source: SideCounts = field(default_factory=SideCounts)
    target: SideCounts = field(default_factory=SideCounts)
    ratios: Counts = field(default_factory=lambda: np.zeros(len(RATIO_EDGES) - 1, dtype=np.int64))  # by RATIO_EDGES

    @property
    def pairs(self) -> int:
        """The number of pairs counted."""
        return int(self.source.words.sum())

    def add(self, texts: Sequence[Flat], ids: Sequence[Flat], models: tuple[Model, Model]) -> None:
        """Count further pairs, given the text and ids of source and target, and the models that encoded them."""
        source, target = map(SideCounts.add, (self.source, self.target), texts, ids, models)
        both = (source > 0) & (target > 0)
        ratios = np.log2(target[both] / source[both])
        self.ratios += np.histogram(np.clip(ratios, RATIO_EDGES[0], RATIO_EDGES[-1]), RATIO_EDGES)[0]


class Overlap:
    """A search for pairs, and for each side of them, in other text; matches are exact after normalising white space."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Search for these pairs."""
        self._wanted = [{pair[side].encode() for pair in pairs if pair[side]} for side in range(2)]
        self._found: tuple[set[bytes], set[bytes]] = (set(), set())
        self._found_pairs: set[tuple[bytes, bytes]] = set()

    def look_in(self, source: Flat, target: Flat) -> None:
        """Search in further text."""
        (wanted_source, wanted_target), (found_source, found_target) = self._wanted, self._found
        for one, other in zip(_sentences(source), _sentences(target), strict=True):
            if one in wanted_source:
                found_source.add(one)
                if other in wanted_target:
                    self._found_pairs.add((one, other))
            if other in wanted_target:
                found_target.add(other)

    def of(self, pairs: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
        """Return the indices (from 0) of the pairs that were found, under the keys "source", "target" and "pair".

        Under "source" are the pairs whose source was found, under "target" those whose target was found, and under
        "pair" those of which both were found together.
        """
        encoded = [(source.encode(), target.encode()) for source, target in pairs]
        return {
            "source": [row for row, (source, _) in enumerate(encoded) if source in self._found[0]],
            "target": [row for row, (_, target) in enumerate(encoded) if target in self._found[1]],
            "pair": [row for row, pair in enumerate(encoded) if pair in self._found_pairs],
        }


def count_store(store: Store, models: tuple[Model, Model], overlap: Overlap) -> TextCounts:
    """Count everything in a store of normalised text, and search it for the pairs of `overlap`."""
    counts = TextCounts()
    for rows in store.blocks():
        texts = [store.text(side, rows) for side in SIDES]
        counts.add(texts, [store.ids(side, rows) for side in SIDES], models)
        overlap.look_in(*texts)
    return counts


def count_lines(pairs: Sequence[tuple[str, str]], models: tuple[Model, Model]) -> TextCounts:
    """Count pairs of lines, with normalised white space, after encoding them with the models of source and target."""
    counts = TextCounts()
    sides = [[pair[side] for pair in pairs] for side in range(2)]
    texts = [_flat([np.frombuffer(line.encode(), dtype="u1") for line in lines]) for lines in sides]
    encoded = [model.encode(lines) for lines, model in zip(sides, models, strict=True)]
    counts.add(texts, [_flat([np.asarray(ids, dtype=np.int64) for ids in rows]) for rows in encoded], models)
    return counts


def summary(counts: Counts) -> dict[str, Any]:
    """Return the total, mean, quantiles and maximum of a histogram of lengths; quantiles are lengths that occur."""
    total = int(counts.sum())
    if total == 0:
        return {"total": 0, "mean": None, "median": None, "p95": None, "p99": None, "max": None}
    weighted = int((counts * np.arange(len(counts))).sum())
    return {
        "total": weighted,
        "mean": weighted / total,
        "median": quantile(counts, 0.5),
        "p95": quantile(counts, 0.95),
        "p99": quantile(counts, 0.99),
        "max": int(np.flatnonzero(counts)[-1]),
    }


def quantile(counts: Counts, share: float) -> int:
    """Return the smallest length that at least this share of the sentences does not exceed."""
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum(), side="left"))


def _per_sentence(mask: NDArray[np.bool_], offsets: NDArray[Any]) -> Counts:
    """Count how often the mask is true in each sentence."""
    before: Counts = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
    counts: Counts = before[offsets[1:]] - before[offsets[:-1]]
    return counts


def _words(code_points: NDArray[np.uint32], offsets: NDArray[np.int64]) -> Counts:
    """Count the words of each sentence, which are separated by any white space of Unicode."""
    space = np.isin(code_points, _WHITE_SPACE)
    after_space = np.concatenate(([True], space))  # [characters + 1]: whether the character before was a space
    after_space[offsets] = True  # the first character of a sentence starts a word too
    return _per_sentence(~space & after_space[:-1], offsets)


def _sum(one: Counts, other: NDArray[Any]) -> Counts:
    """Return the sum of two histograms of different lengths."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.astype(np.int64)
    total[: len(shorter)] += shorter
    return total


def _flat(sentences: list[NDArray[Any]]) -> Flat:
    offsets = np.concatenate(([0], np.cumsum([len(sentence) for sentence in sentences], dtype=np.int64)))
    return Flat(np.concatenate([np.zeros(0, dtype=sentences[0].dtype), *sentences]), offsets)


def _sentences(text: Flat) -> list[bytes]:
    raw = text.values.tobytes()
    return [raw[start:end] for start, end in pairwise(text.offsets.tolist())]
