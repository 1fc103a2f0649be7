"""Progress messages of nmt-translate and the line counter behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from nmt.messages import on_terminal, tell
from nmt.progress import Progress

say = partial(tell, speaker="nmt-translate")


def lines_done(total: int | None, done: int = 0, silent: bool = False) -> Progress:
    """Return a progress display for `total` lines, or for an unknown number (None).

    `done` lines were translated by an earlier call. With `silent`, which is for lines typed at a terminal, nothing is
    shown on the way.
    """
    every = math.inf if silent else 30.0
    return Progress("lines", say, total, done, live=on_terminal() and not silent, every=every)


class Counter:
    """A counter of the lines that a process has translated; it passes each new count to the function `changed`.

    The sum over the batches of a block may be inexact, because empty lines belong to no batch. After each block it is
    replaced by the block's size.
    """

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._blocks = self._batches = 0
        changed(0)

    def batch(self, lines: int) -> None:
        """Count a finished batch of the current block."""
        self._batches += lines
        self._changed(self._blocks + self._batches)

    def block(self, lines: int) -> None:
        """Count the current block as finished; it had `lines` lines."""
        self._blocks += lines
        self._batches = 0
        self._changed(self._blocks)
