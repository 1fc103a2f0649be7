"""Scores by source length (cf. Bahdanau et al. 2015, fig. 2), which show which systems get worse on long sentences."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from nmt.config.languages import is_unspaced
from nmt.evaluation.significance import Statistics

EDGES = (10, 15, 20, 25, 35, 50)  # the longest source of each bucket, in words; a last bucket holds all longer ones
LEAST = 50  # sentences per bucket; BLEU of fewer says little, so a smaller bucket is merged with its shorter neighbour


@dataclass(frozen=True)
class Bucket:
    """The sentences whose source has `shortest` to `longest` words (None: no upper limit)."""

    shortest: int
    longest: int | None
    sentences: tuple[int, ...]  # indices of sentences in the test set

    @property
    def label(self) -> str:
        """The range of lengths as text, such as 11-15 or 51+."""
        if self.longest is None:
            return f"{self.shortest}+"
        return f"{self.shortest}-{self.longest}" if self.shortest != self.longest else str(self.shortest)


def source_lengths(lines: Sequence[str], language: str = "") -> list[int]:
    """Return the length of each line in words, or in characters if the language is written without spaces."""
    if is_unspaced(language):
        return [len("".join(line.split())) for line in lines]
    return [len(line.split()) for line in lines]


def length_buckets(lengths: Sequence[int], edges: Sequence[int] = EDGES, least: int = LEAST) -> list[Bucket]:
    """Sort sentences into buckets by their lengths and merge buckets with fewer than `least` sentences."""
    members: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    for index, length in enumerate(lengths):
        members[bisect_left(edges, length)].append(index)
    buckets: list[Bucket] = []
    for shortest, longest, inside in zip([1, *(edge + 1 for edge in edges)], [*edges, None], members, strict=True):
        if buckets and inside and min(len(inside), len(buckets[-1].sentences)) < least:
            last = buckets.pop()
            buckets.append(Bucket(last.shortest, longest, (*last.sentences, *inside)))
        elif inside:
            buckets.append(Bucket(shortest, longest, tuple(inside)))
    return buckets


def bucket_scores(statistics: Statistics, buckets: Sequence[Bucket]) -> list[float]:
    """Return the corpus score of each bucket."""
    return [statistics.score_subset(bucket.sentences) for bucket in buckets]
