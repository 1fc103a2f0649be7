"""Which rows of a store an epoch has, where corpora come by more or less often than once.

Think of a corpus as an endless sequence: all of its rows in a random order, then all of them in another, and so on. An
epoch takes the next `weight` times as many as it has. So a row comes again only when all others of its corpus have come
as often, whatever the weight; and what an epoch has follows from seed and epoch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from nmt.config.data import DataConfig
from nmt.data.sources import source_of
from nmt.data.store import Store
from nmt.errors import ConfigError, NmtError

Rows = NDArray[np.integer]


@dataclass(frozen=True)
class Part:
    """A corpus in the store: neighbouring rows."""

    name: str
    pairs: int
    weight: Fraction  # rows of an epoch over pairs

    def bounds(self, epoch: int) -> tuple[int, int]:
        """Where in the endless sequence an epoch begins and ends."""
        return floor(epoch * self.weight * self.pairs), floor((epoch + 1) * self.weight * self.pairs)

    def rows(self, epoch: int, seed: int, index: int) -> Rows:
        """The rows of an epoch, counted from 0; `index` tells the corpora of a store apart."""
        if self.weight == 1 or not self.pairs:
            return np.arange(self.pairs, dtype=np.int32)
        start, end = self.bounds(epoch)
        rows = []
        for turn in range(start // self.pairs, -(-end // self.pairs)):  # none in an epoch that has no row of it
            rng = np.random.Generator(np.random.PCG64([seed % 2**64, turn, index, 1]))  # 1: not those of an epoch
            first = turn * self.pairs
            order = rng.permutation(np.arange(self.pairs, dtype=np.int32))
            rows.append(order[max(start - first, 0) : end - first])
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)


class Mixture:
    """The corpora of a store, in their order, and how often each comes by."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, data: DataConfig, store: Store) -> Mixture:
        """What a configuration asks for.

        Raises NmtError for a store that does not tell its corpora apart, ConfigError for weights too small.
        """
        corpora = [] if data.path is not None else data.train
        pairs = store.corpora or [len(store)]
        if len(corpora) != len(pairs):
            if data.temperature is not None or any(corpus.weight != 1 for corpus in corpora):
                raise NmtError(
                    f"{store.folder.parent} was prepared when corpora were not counted, which weights need: remove it, "
                    "and it is prepared again"
                )
            return cls.whole(store)
        if data.temperature is not None:
            weights = tempered(pairs, data.temperature)
        else:
            weights = [Fraction(str(corpus.weight)) for corpus in corpora]
        if all(weight * count < 1 for weight, count in zip(weights, pairs, strict=True)):
            raise ConfigError("the weights of data.train are so small that an epoch may have no pair: raise them")
        names = [source_of(corpus, data.source_language, data.target_language).name for corpus in corpora]
        return cls(list(map(Part, names, pairs, weights)))

    @classmethod
    def whole(cls, store: Store) -> Mixture:
        """Every row once in an epoch."""
        return cls([Part("", len(store), Fraction(1))])

    def rows(self, seed: int, epoch: int) -> Rows:
        """The rows of an epoch, not shuffled among corpora."""
        first, rows = 0, []
        for index, part in enumerate(self.parts):
            rows.append(part.rows(epoch, seed, index) + np.int32(first))
            first += part.pairs
        return np.concatenate(rows)

    def most(self) -> int:
        """A number of rows that no epoch exceeds."""
        return sum(ceil(part.weight * part.pairs) for part in self.parts)

    def tell(self, log: Callable[[str], None]) -> None:
        """Of several corpora, or one with a weight: pairs, weights, and what an epoch has of each."""
        if len(self.parts) == 1 and self.parts[0].weight == 1:
            return
        total = sum(part.weight * part.pairs for part in self.parts)
        log(f"an epoch has {round(total):,} pairs of {len(self.parts)} corpora:")
        for part in self.parts:
            rows = part.weight * part.pairs
            log(
                f"  {part.name}: {part.pairs:,} pairs, weight {float(part.weight):.4g}, {round(rows):,} in an epoch, "
                f"{float(rows / total):.1%}"
            )


def tempered(pairs: Sequence[int], temperature: float) -> list[Fraction]:
    """The weights with which an epoch has corpora of so many pairs in proportion to pairs**(1/temperature).

    Arivazhagan et al. 2019, section 4: temperature 1 is as they are, without end all alike. An epoch has as many rows
    as without weights; what is left of rounding down goes to the largest remainders.
    """
    shares = np.array(pairs, dtype=np.float64) ** (1 / temperature)
    wanted = shares / shares.sum() * sum(pairs)
    rows = np.floor(wanted).astype(np.int64)
    rows[np.argsort(rows - wanted, kind="stable")[: sum(pairs) - int(rows.sum())]] += 1
    return [Fraction(int(row), max(count, 1)) for row, count in zip(rows, pairs, strict=True)]
