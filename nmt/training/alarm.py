"""End all processes of a training, with a single error message, when one of them fails.

The other processes could otherwise wait for the failed one forever, or until a time limit of torch is over.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from nmt.errors import NmtError
from nmt.messages import tell

FAILED = 1  # the exit status of all processes after a failure
_LOOK = 0.5  # seconds between two checks whether another process has failed or is gone
PATIENCE = 10.0  # seconds for a process to end by itself, and for a call of torch to return after torch's own timeout
LOST = (
    "another process of this training has ended without an error message or cannot be reached (it was killed, perhaps "
    "because memory ran out, or its machine is gone): run the same command again to continue from the last checkpoint"
)
_SILENT = (
    "process {rank} of this training has not responded for {seconds:.0f} seconds: its machine is gone, stopped or out "
    "of reach; run the same command again to continue from the last checkpoint"
)
_OF_GLOO = "gloo/transport"  # part of gloo's error messages about a lost connection to another process


@contextmanager
def limited(seconds: float, sentence: str, command: str = "nmt-train") -> Iterator[Callable[[], None]]:
    """End this process, with `sentence` as an error message of `command`, if the block takes longer than `seconds`.

    The block receives a function that restarts the time limit. This is for calls to a store that was stopped while its
    connections stay open: such calls neither return nor fail. Time is measured by counting checks, not with a
    clock, so that time during which this process itself was suspended does not count.
    """
    over = threading.Event()
    looks = 0

    def watch() -> None:
        nonlocal looks
        while not over.wait(_LOOK):
            looks += 1
            if looks * _LOOK > seconds:
                leave(sentence, command)

    def renew() -> None:
        nonlocal looks
        looks = 0

    thread = threading.Thread(target=watch, name="limit", daemon=True)
    thread.start()
    try:
        yield renew
    finally:
        over.set()
        thread.join()


class Alarm:
    """A thread in each process that ends the process when another one has failed or is gone.

    Failures are counted in the store through which the processes found each other. As long as it lives, each process
    also increments a counter of its own there. Rank 0 watches the counters of all others, and they watch that of rank
    0: a process may wait for another as long as its work takes (`nmt.training.distributed.World.in_turn`), but not for
    one that is gone.
    """

    def __init__(self, store: Store, rank: int, size: int, silence: float, *, keeps_store: bool) -> None:
        """Set up the alarm; `watched` starts its thread.

        `silence` is the number of seconds after which a process whose counter stands still, or a store that does not
        answer, is considered gone. `keeps_store` says whether this process hosts the store, which then ends with it.
        """
        self._store = PrefixStore("alarm", store)
        self._rank = rank
        self._size = size
        self._silence = silence
        self._keeps_store = keeps_store
        self._over = threading.Event()
        # For each watched process: its last count, and the number of checks since that count changed. Seconds would
        # include the time during which this process itself was suspended.
        self._heard = dict.fromkeys(range(1, size) if rank == 0 else (0,), (0, 0))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the other processes during the block, and end this process when one of them fails.

        If the block itself fails and this process is the first to fail, its exception is raised (as NmtError if it says
        that another process is gone). If another process has failed before, SystemExit is raised instead.
        """
        # The machine of the store may be gone. Then a process that has failed cannot even find out whether it was the
        # first to fail, so all of this has a time limit.
        with limited(self._silence + PATIENCE, LOST) as store_answers:
            watch = threading.Thread(target=self._watch, args=(store_answers,), name="alarm", daemon=True)
            watch.start()
            try:
                yield
            except BaseException as error:
                self._over.set()
                if not self._is_first():
                    watch.join(2 * PATIENCE)  # the watching thread may be about to end this process
                    raise SystemExit(FAILED) from None
                if isinstance(error, DistError) or (isinstance(error, RuntimeError) and _OF_GLOO in str(error)):
                    raise NmtError(f"{LOST} ({str(error).strip().partition(chr(10))[0]})") from error
                raise
            finally:
                self._over.set()
                # if the thread were still in a call of the store when the interpreter ends, the process would abort
                watch.join(PATIENCE)

    def _is_first(self) -> bool:
        """Report a failure to the other processes; return whether this is the first failure."""
        first = True
        with suppress(RuntimeError):  # the store is gone
            first = self._store.add("failed", 1) == 1
            self._let_others_leave()
        return first

    def _let_others_leave(self) -> None:
        """Confirm that this process knows of the failure; if it hosts the store, wait until all others know, too."""
        self._store.set(f"left {self._rank}", "")
        leaving = [f"left {rank}" for rank in range(self._size)]
        ends = time.monotonic() + PATIENCE  # processes that are gone never confirm
        while self._keeps_store and time.monotonic() < ends and not self._store.check(leaving):
            time.sleep(_LOOK / 5)

    def _watch(self, store_answers: Callable[[], None]) -> None:
        """Check regularly whether another process has failed or is gone; if so, end this process.

        Its main thread may be waiting for the other process and would wait forever.
        """
        try:
            while not self._over.wait(_LOOK):
                self._store.add(f"alive {self._rank}", 1)
                gone = self._silent()
                if gone is not None and self._store.add("failed", 1) == 1:
                    tell(_SILENT.format(rank=gone, seconds=self._silence), "nmt-train: error")
                if self._store.add("failed", 0) and not self._over.is_set():  # if set, this process itself failed
                    self._let_others_leave()
                    leave()
                store_answers()
        except RuntimeError:  # the store is gone, with the process that hosted it
            if not self._over.wait(PATIENCE):
                leave(LOST)

    def _silent(self) -> int | None:
        """Return the rank of a process that has not responded for too long, or None."""
        for other, (count, looks) in self._heard.items():
            latest = self._store.add(f"alive {other}", 0)
            self._heard[other] = (latest, looks + 1 if latest == count else 0)
            if self._heard[other][1] * _LOOK > self._silence:
                return other
        return None


def leave(sentence: str = "", command: str = "nmt-train") -> None:
    """Print `sentence`, if any, as an error message of `command`, and end this process with all its threads at once."""
    if sentence:
        tell(sentence, f"{command}: error")
    leave_with(FAILED)


def leave_with(status: int) -> NoReturn:
    """End this process with all its threads at once, after what it has printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it, it is closed, or there is none
            stream.flush()
    os._exit(status)
