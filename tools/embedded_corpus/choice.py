"""Random choices that give the same result on every version of Python."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")

# The head of each list is not overwhelmingly frequent: weights fall as 1 / (rank + this).
_FLATTENING = 5


class Choice:
    """Choices drawn from `Random.random` alone, whose stream for a seed is fixed by Python's documentation."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random
        self._cumulative: dict[int, list[float]] = {}

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def below(self, stop: int) -> int:
        """An integer from 0 to stop - 1, all alike."""
        return int(self._random() * stop)

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included, all alike."""
        return low + self.below(high - low + 1)

    def within(self, low: float, high: float) -> float:
        """A real number from low to high, all alike."""
        return low + (high - low) * self._random()

    def zipf(self, items: Sequence[T]) -> T:
        """One of the items, earlier ones more often, as words in a text are."""
        cumulative = self._cumulative.get(len(items))
        if cumulative is None:
            cumulative = list(accumulate(1 / (rank + _FLATTENING) for rank in range(len(items))))
            self._cumulative[len(items)] = cumulative
        return items[bisect(cumulative, self._random() * cumulative[-1], 0, len(items) - 1)]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """One of the items, in proportion to the weights."""
        cumulative = list(accumulate(weights))
        return items[bisect(cumulative, self._random() * cumulative[-1], 0, len(items) - 1)]

    def shuffle(self, items: list[T]) -> None:
        """Put the list in random order (Fisher and Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
