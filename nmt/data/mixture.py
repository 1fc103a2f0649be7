"""The rows of a store that each epoch contains, if corpora have weights.

Think of a corpus as an endless sequence: all of its rows in a random order, then all of them in another order, and so
on. Each epoch takes the next weight * pairs rows of the sequence. Whatever the weight, a row is therefore only repeated
after all other rows of its corpus have been used as often. The rows of an epoch depend only on the seed and the epoch.
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
    """A corpus in the store, whose rows are consecutive."""

    name: str
    pairs: int
    weight: Fraction  # number of its rows in an epoch divided by `pairs`

    def bounds(self, epoch: int) -> tuple[int, int]:
        """Return the positions in the endless sequence at which an epoch begins and ends."""
        return floor(epoch * self.weight * self.pairs), floor((epoch + 1) * self.weight * self.pairs)

    def rows(self, epoch: int, seed: int, index: int) -> Rows:
        """Return this corpus's rows in an epoch, counted from 0; `index` is the number of the corpus in the store."""
        if self.weight == 1 or not self.pairs:
            return np.arange(self.pairs, dtype=np.int32)
        start, end = self.bounds(epoch)
        rows = []
        for turn in range(start // self.pairs, -(-end // self.pairs)):
            # the 1 makes this seed different from those that Updates.epoch shuffles with
            rng = np.random.Generator(np.random.PCG64([seed % 2**64, turn, index, 1]))
            first = turn * self.pairs
            order = rng.permutation(np.arange(self.pairs, dtype=np.int32))
            rows.append(order[max(start - first, 0) : end - first])
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)


class Mixture:
    """The corpora of a store, in order, with their weights."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, data: DataConfig, store: Store) -> Mixture:
        """Return the mixture that a configuration describes, by weights or by a temperature.

        Raises NmtError if weights are needed but the store does not record the sizes of its corpora, and ConfigError if
        the weights are too small.
        """
        corpora = [] if data.path is not None else data.train
        pairs = store.corpora or [len(store)]
        if len(corpora) != len(pairs):
            if data.temperature is not None or any(corpus.weight != 1 for corpus in corpora):
                raise NmtError(
                    f"{store.folder.parent} was prepared by an older version, which did not record the sizes of the "
                    "corpora that weights need: remove it, so that it is prepared again"
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
        """Return a mixture that has every row once per epoch."""
        return cls([Part("", len(store), Fraction(1))])

    def rows(self, seed: int, epoch: int) -> Rows:
        """Return the rows of an epoch, corpus by corpus; they are shuffled elsewhere."""
        first, rows = 0, []
        for index, part in enumerate(self.parts):
            rows.append(part.rows(epoch, seed, index) + np.int32(first))
            first += part.pairs
        return np.concatenate(rows)

    def most(self) -> int:
        """Return an upper bound of the number of rows in an epoch."""
        return sum(ceil(part.weight * part.pairs) for part in self.parts)

    def tell(self, log: Callable[[str], None]) -> None:
        """Log the pairs, weight and rows per epoch of each corpus, unless there is a single corpus without a weight."""
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
    """Return weights with which each corpus has a share of an epoch in proportion to pairs**(1/temperature).

    Arivazhagan et al. 2019 sample languages like this. With temperature 1 the shares are those of the text itself; with
    a high temperature they become equal. An epoch has as many rows as without weights: shares are rounded down, and the
    rows that remain go to the corpora with the largest remainders.
    """
    shares = np.array(pairs, dtype=np.float64) ** (1 / temperature)
    wanted = shares / shares.sum() * sum(pairs)
    rows = np.floor(wanted).astype(np.int64)
    rows[np.argsort(rows - wanted, kind="stable")[: sum(pairs) - int(rows.sum())]] += 1
    return [Fraction(int(row), max(count, 1)) for row, count in zip(rows, pairs, strict=True)]
