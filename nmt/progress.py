"""Progress of long work on stderr: a live line on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from nmt.messages import renew

_REFRESH = 0.5  # seconds between two updates of the live line


class Progress:
    """Progress of some work, reported while it runs: the number of items done, the rate and the time left."""

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
        """Start with `done` of `total` items (None: unknown) already done. The clock starts with the first `reach`.

        `what` names the items in each line, such as "pairs read". With `live` the line on stderr is updated in place;
        call `end` before anything else is written there. Otherwise `say` is called with a line every `every` seconds.
        """
        self.what, self.say, self.total, self.live, self.every = what, say, total, live, every
        self.before = self.done = done
        self._start: float | None = None

    def reach(self, done: int) -> None:
        """Record that `done` items are done in total, and report it if the last report is old enough."""
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
        """Clear the live line and say one line about the whole work."""
        if self.live:
            renew("")
        self.say(f"{self.done - self.before:,} {self.what} in {self._seconds:.1f} s ({_shown(self._rate)} a second)")

    def state(self) -> str:
        """Return the line to show: the items done, the rate, and the time left if the total is known."""
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
    """A thread that prints "... still running" during long work whenever there has been no message for a while.

    Use it as a context manager around the work, and print all messages of the work with `say`.
    """

    def __init__(self, say: Callable[[str], None], every: float = 50.0) -> None:
        """Prepare the thread. `say` prints a message; "... still running" follows after `every` seconds of silence."""
        self._say, self._every = say, every
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._what, self._began = "", time.monotonic()
        self._said = self._began

    def say(self, sentence: str) -> None:
        """Print a sentence. Lines with "... still running" quote it until the next sentence."""
        self._say(sentence)
        self.heard(sentence)

    def heard(self, sentence: str) -> None:
        """Note that a sentence has just been printed, without printing it: `say` does this for its own sentences."""
        with self._lock:
            self._what, self._began = sentence, time.monotonic()
            self._said = self._began

    def begins(self, what: str) -> None:
        """Set the description of the current work, such as "validating", for "... still running". Prints nothing."""
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
        """Print "... still running" when it is due, until the work is over."""
        while not self._over.wait(max(0.0, self._said + self._every - time.monotonic())):
            with self._lock:
                now = time.monotonic()
                if now - self._said >= self._every:
                    self._say(f"... still running, {time_left(now - self._began)} since: {self._what}")
                    self._said = now


def _shown(rate: float) -> str:
    """Format a rate, with one decimal place if it is below 10."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def time_left(seconds: float) -> str:
    """Format seconds as minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
