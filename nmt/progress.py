"""How far a long work is, on stderr: a live line on a terminal, else a plain one now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from nmt.messages import renew

_REFRESH = 0.5  # seconds between two states of the live line


class Progress:
    """The rate of a work and the time left, told while it goes on."""

    def __init__(
        self,
        what: str,
        say: Callable[[str], None],
        total: float | None = None,
        done: int = 0,
        *,
        live: bool = False,
        every: float = 10.0,
    ) -> None:
        """Of `total` things, or an unknown number, `done` were done before. The clock starts with the first `reach`.

        `what` they are stands in every line, such as "pairs read". With `live`, the line on stderr is renewed, and must
        be ended before anything else is written there; else `say` is given one every so many seconds.
        """
        self.what, self.say, self.total, self.live, self.every = what, say, total, live, every
        self.before = self.done = done
        self._start: float | None = None

    def reach(self, done: int) -> None:
        """So many are done in all."""
        self.done = done
        if self._start is None:
            self._start = self._shown = time.monotonic()
        if time.monotonic() - self._shown >= (_REFRESH if self.live else self.every):
            self._shown = time.monotonic()
            if self.live:
                renew(self.state())
            else:
                self.say(self.state())

    def end(self) -> None:
        """Leave one line about the whole work."""
        if self.live:
            renew("")
        self.say(f"{self.done - self.before:,} {self.what} in {self._seconds:.1f} s ({_shown(self._rate)} a second)")

    def state(self) -> str:
        """Where it stands, the rate, and the time left where the total is known."""
        rate = self._rate
        if not self.total or not rate:
            return f"{self.done:,} {self.what}, {_shown(rate)} a second"
        left = time_left(max(self.total - self.done, 0) / rate)
        share = min(1.0, self.done / self.total)
        return f"{self.done:,} {self.what} ({share:.0%}), {_shown(rate)} a second, {left} left"

    @property
    def _seconds(self) -> float:
        return 0.0 if self._start is None else time.monotonic() - self._start

    @property
    def _rate(self) -> float:
        return (self.done - self.before) / max(self._seconds, 1e-9)


class Pulse:
    """Says that a long work goes on where nothing else has been said of it for a while, in a thread of its own.

    As a context it lasts as long as the work. All that is said meanwhile goes through `say`.
    """

    def __init__(self, say: Callable[[str], None], every: float = 50.0) -> None:
        """`say` is how a sentence is told, and `every` so many seconds without one there is a sign of life."""
        self._say, self._every = say, every
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._what, self._began = "", time.monotonic()
        self._said = self._began

    def say(self, sentence: str) -> None:
        """Say something, which is what the work is at from here on."""
        self._say(sentence)
        self.heard(sentence)

    def heard(self, sentence: str) -> None:
        """Note that somebody else has said something."""
        with self._lock:
            self._what, self._began = sentence, time.monotonic()
            self._said = self._began

    def begins(self, what: str) -> None:
        """Note what the work is at from here on, such as "validating", of which nothing has been said yet."""
        with self._lock:
            self._what, self._began = what, time.monotonic()

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(max(0.0, self._said + self._every - time.monotonic())):
            with self._lock:
                now = time.monotonic()
                if now - self._said >= self._every:
                    self._say(f"... {time_left(now - self._began)} so far at: {self._what}")
                    self._said = now


def _shown(rate: float) -> str:
    """Return a rate with a digit behind the point where that tells something."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def time_left(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
