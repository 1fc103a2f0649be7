"""Random choices that give the same result on every version of Python."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")

# Weights fall as 1 / (rank + this), so that the first items of a list are not overwhelmingly frequent.
_FLATTENING = 5


class Choice:
    """A random generator that uses only `Random.random`, whose values for a seed Python's documentation guarantees."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random
        self._cumulative: dict[int, list[float]] = {}

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def below(self, stop: int) -> int:
        """Return an integer from 0 to stop - 1, uniformly distributed."""
        return int(self._random() * stop)

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included, uniformly distributed."""
        return low + self.below(high - low + 1)

    def within(self, low: float, high: float) -> float:
        """Return a real number from low to high, uniformly distributed."""
        return low + (high - low) * self._random()

    def zipf(self, items: Sequence[T]) -> T:
        """Return one of the items, earlier ones more often, like the frequent words of a text."""
        cumulative = self._cumulative.get(len(items))
        if cumulative is None:
            cumulative = list(accumulate(1 / (rank + _FLATTENING) for rank in range(len(items))))
            self._cumulative[len(items)] = cumulative
        return items[bisect(cumulative, self._random() * cumulative[-1], 0, len(items) - 1)]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """Return one of the items with a probability proportional to its weight."""
        cumulative = list(accumulate(weights))
        return items[bisect(cumulative, self._random() * cumulative[-1], 0, len(items) - 1)]

    def shuffle(self, items: list[T]) -> None:
        """Put the list in random order (Fisher and Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
