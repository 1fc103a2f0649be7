"""What nmt-translate says on stderr while it works."""

from __future__ import annotations

import sys
from collections.abc import Callable

from nmt import progress


class Progress(progress.Progress):
    """How far it is, in lines."""

    def __init__(self, total: int | None, done: int = 0, silent: bool = False) -> None:
        """Of `total` lines, or an unknown number, `done` were done before. The clock starts with the first `reach`."""
        super().__init__("lines", _print, total, done, live=sys.stderr.isatty(), every=30.0)
        self.silent = silent

    def reach(self, done: int) -> None:
        """So many lines are done in all."""
        if self.silent:
            self.done = done
        else:
            super().reach(done)

    def end(self) -> None:
        """Leave one line about the whole work."""
        if not self.silent:
            tell(f"{self.done - self.before:,} lines in {self._seconds:.1f} s ({self._rate:.1f} lines/s)")

    def state(self) -> str:
        """Where it stands, the rate, and the time left where the total is known."""
        rate = self._rate
        if not self.total or not rate:
            return f"{self.done:,} lines, {rate:.1f} lines/s"
        left = progress.time_left(max(self.total - self.done, 0) / rate)
        return f"{self.done:,} of {self.total:,} lines ({self.done / self.total:.0%}), {rate:.1f} lines/s, {left} left"


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


def tell(sentence: str) -> None:
    """Print a warning or a note on stderr, over a live line that may be there."""
    print(f"{progress.fresh_line()}nmt-translate: {sentence}", file=sys.stderr, flush=True)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
