"""What nmt-translate says on stderr while it works."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Progress:
    """How far it is, on stderr: a live line on a terminal, else a plain one now and then."""

    def __init__(self, total: int | None, done: int = 0, silent: bool = False) -> None:
        """Of `total` lines, or an unknown number, `done` were done before. The clock starts with the first `reach`."""
        self.live = sys.stderr.isatty()
        self.silent = silent
        self.total = total
        self.before = self.done = done
        self._start: float | None = None

    def reach(self, lines: int) -> None:
        """So many lines are done in all."""
        self.done = lines
        if self._start is None:
            self._start = self.shown = time.monotonic()
        if not self.silent and time.monotonic() - self.shown >= (0.5 if self.live else 30.0):
            self.shown = time.monotonic()
            print(f"{_fresh_line()}{self._state()}", end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave one line about the whole work."""
        if not self.silent:
            tell(f"{self.done - self.before:,} lines in {self._seconds:.1f} s ({self._rate:.1f} lines/s)")

    @property
    def _seconds(self) -> float:
        return 0.0 if self._start is None else time.monotonic() - self._start

    @property
    def _rate(self) -> float:
        return (self.done - self.before) / max(self._seconds, 1e-9)

    def _state(self) -> str:
        rate = self._rate
        if not self.total or not rate:
            return f"{self.done:,} lines, {rate:.1f} lines/s"
        minutes, seconds = divmod(round(max(self.total - self.done, 0) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
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
    print(f"{_fresh_line()}nmt-translate: {sentence}", file=sys.stderr, flush=True)


def _fresh_line() -> str:
    return "\r\x1b[K" if sys.stderr.isatty() else ""
