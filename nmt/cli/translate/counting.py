"""The messages of nmt-translate while it works, and its count of lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from nmt.messages import on_terminal, tell
from nmt.progress import Progress

say = partial(tell, speaker="nmt-translate")


def lines_done(total: int | None, done: int = 0, silent: bool = False) -> Progress:
    """Return the progress of `total` lines, or an unknown number; `silent` where somebody types them in."""
    every = math.inf if silent else 30.0
    return Progress("lines", say, total, done, live=on_terminal() and not silent, every=every)


class Counter:
    """The lines that a process has done since it was ready, counted by batches and put right after each block."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._blocks = self._batches = 0
        changed(0)

    def batch(self, lines: int) -> None:
        """A batch of the present block is done."""
        self._batches += lines
        self._changed(self._blocks + self._batches)

    def block(self, lines: int) -> None:
        """The present block is done, of so many lines."""
        self._blocks += lines
        self._batches = 0
        self._changed(self._blocks)
