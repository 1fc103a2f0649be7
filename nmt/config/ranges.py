"""The ranges that numbers in the configuration may have, given with their types: `Annotated[float, Range(0, 1)]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")

NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}  # as messages name them
_ENOUGH = 10**12  # larger than any realistic count, and far below the limit of 64-bit integers


@dataclass(frozen=True)
class Range:
    """The range of numbers from `least` to `most`, both included unless `above` or `below` excludes them."""

    least: float
    most: float = math.inf
    above: bool = False  # exclude `least`
    below: bool = False  # exclude `most`

    def __contains__(self, value: float) -> bool:
        low = self.least < value if self.above else self.least <= value
        high = value < self.most if self.below else value <= self.most
        return low and high

    def __str__(self) -> str:
        """Return the text that follows "a number" in messages, such as "of at least 0" or "from 0 to below 1"."""
        least, most = _written(self.least), _written(self.most)
        if self.most == math.inf:
            return f"above {least}" if self.above else f"of at least {least}"
        if self.above:
            return f"above {least} and {'below' if self.below else 'at most'} {most}"
        return f"from {least} to {'below ' if self.below else ''}{most}"


def kind_and_range(hint: Any) -> tuple[Any, Range | None]:
    """Split a type hint into the type and the Range it is annotated with, or None if it has no range."""
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *notes = get_args(hint)
    return kind, next((note for note in notes if isinstance(note, Range)), None)


def _written(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def settled(value: T | Auto) -> T:
    """Return a value that could have been `auto`; nmt.training.auto must have replaced it by a number before."""
    assert value != "auto", "nmt.training.auto replaces each auto by a number before training reads it"
    return value


Auto = Literal["auto"]  # nmt.training.auto computes the number from the text, the model and the limits

# Types of numbers that several keys, or a key and a command-line option, have in common.
Count = Annotated[int, Range(1, _ENOUGH)]
Natural = Annotated[int, Range(0, _ENOUGH)]
Dimension = Annotated[int, Range(1, 1_000_000)]  # the size of vectors
Layers = Annotated[int, Range(1, 1000)]
Processes = Annotated[int, Range(1, 1024)]  # or a number of threads
BeamSize = Annotated[int, Range(1, 10_000)]
Samples = Annotated[int, Range(1, 10_000)]  # sampled translations of a sentence
Seed = Annotated[int, Range(0, 2**63 - 1)]
LengthPenalty = Annotated[float, Range(0, 10)]
Positive = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0, 1000, above=True)]
Ratio = Annotated[float, Range(0, 100)]
Rate = Annotated[float, Range(0, 1, below=True)]  # of dropout or a moving average
Share = Annotated[float, Range(0, 1, above=True)]  # more than nothing, up to all
Factor = Annotated[float, Range(0, 1, above=True, below=True)]  # a multiplier that makes something smaller
