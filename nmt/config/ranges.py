"""The values that a number may have: a range beside its type, as in `Annotated[float, Range(0, 1)]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")

NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}  # as messages name them
_ENOUGH = 10**12  # more than anyone counts here, and far from where whole numbers of a machine end


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`; both ends belong to it unless `above` or `below` says otherwise."""

    least: float
    most: float = math.inf
    above: bool = False  # `least` itself is too small
    below: bool = False  # `most` itself is too large

    def __contains__(self, value: float) -> bool:
        low = self.least < value if self.above else self.least <= value
        high = value < self.most if self.below else value <= self.most
        return low and high

    def __str__(self) -> str:
        """What follows "a number": "of at least 0", "above 0", "from 0 to 1", "from 0 to below 1"."""
        least, most = _written(self.least), _written(self.most)
        if self.most == math.inf:
            return f"above {least}" if self.above else f"of at least {least}"
        if self.above:
            return f"above {least} and {'below' if self.below else 'at most'} {most}"
        return f"from {least} to {'below ' if self.below else ''}{most}"


def kind_and_range(hint: Any) -> tuple[Any, Range | None]:
    """A type without the range that it is annotated with, and that range; None where it has none."""
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *notes = get_args(hint)
    return kind, next((note for note in notes if isinstance(note, Range)), None)


def _written(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def settled(value: T | Auto) -> T:
    """Return the value of a key that may say `auto`, once a number stands in its place."""
    assert value != "auto", "nmt.training.auto puts a number in place of each auto before training reads it"
    return value


Auto = Literal["auto"]  # found from the text, the model and the limits of training

# Numbers that several keys, or a key and an option of a command, stand for.
Count = Annotated[int, Range(1, _ENOUGH)]
Natural = Annotated[int, Range(0, _ENOUGH)]
Dimension = Annotated[int, Range(1, 1_000_000)]  # of vectors
Layers = Annotated[int, Range(1, 1000)]
Processes = Annotated[int, Range(1, 1024)]  # or threads
BeamSize = Annotated[int, Range(1, 10_000)]
Samples = Annotated[int, Range(1, 10_000)]  # drawn for a sentence
Seed = Annotated[int, Range(0, 2**63 - 1)]
LengthPenalty = Annotated[float, Range(0, 10)]
Positive = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0, 1000, above=True)]
Ratio = Annotated[float, Range(0, 100)]
Rate = Annotated[float, Range(0, 1, below=True)]  # of dropout, of moving averages
Share = Annotated[float, Range(0, 1, above=True)]  # some of it, or all
Factor = Annotated[float, Range(0, 1, above=True, below=True)]  # by which something becomes smaller
