"""A failure in one of several processes ends all of them, whatever the others are waiting for, and is told once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from nmt.errors import NmtError
from nmt.messages import tell

_FAILED = 1  # the status that all end with
_LOOK = 0.5  # seconds between two looks at whether a process has failed, or is still heard of
PATIENCE = 10.0  # seconds that a process has to end by itself, and that a call has beyond a limit of its own
LOST = (
    "another process of this training has ended without a word, or cannot be reached (killed, perhaps for want of "
    "memory, or its machine is gone): the same command continues from the last checkpoint"
)
_SILENT = (
    "process {rank} of this training has not been heard of for {seconds:.0f} seconds: its machine is gone, stopped or "
    "out of reach; the same command continues from the last checkpoint"
)
_OF_GLOO = "gloo/transport"  # in what it says of a connection to another process


@contextmanager
def limited(seconds: float, sentence: str, command: str = "nmt-train") -> Iterator[Callable[[], None]]:
    """End this process, with a sentence of `command`, where the block has not ended after so long.

    The block may call the function it is given to start the time anew. For calls of a store that has stopped, but whose
    connections are open: they have no answer and no end. Time is counted in looks, so that a process that was stopped
    itself has lost none.
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
    """Watches, in a thread, a counter of failures in the store that the processes have found each other by.

    Each process counts there, too, as long as it lives. Rank 0 looks whether the others do, and they whether it does: a
    process may wait for another for as long as its work takes (`nmt.training.distributed.World.in_turn`), but not for
    one that is gone.
    """

    def __init__(self, store: Store, rank: int, size: int, silence: float, *, keeps_store: bool) -> None:
        """silence: seconds without a word of a process, or of the store, after which it is given up.

        keeps_store: whether the store is in this process, and ends with it.
        """
        self._store = PrefixStore("alarm", store)
        self._rank = rank
        self._size = size
        self._silence = silence
        self._keeps_store = keeps_store
        self._over = threading.Event()
        # The last count of each that is watched, and how many looks have found it. Seconds would be those of this
        # process's own suspension, too.
        self._heard = dict.fromkeys(range(1, size) if rank == 0 else (0,), (0, 0))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The block ends where another process fails, by the end of this one.

        Where it fails itself, and is the first to, the exception goes on (NmtError for one that says that another
        process is gone); where it is not, a SystemExit does.
        """
        # The store's own machine may be gone: then not even a process that has failed can ask whether it is the first.
        with limited(self._silence + PATIENCE, LOST) as store_answers:
            watch = threading.Thread(target=self._watch, args=(store_answers,), name="alarm", daemon=True)
            watch.start()
            try:
                yield
            except BaseException as error:
                self._over.set()
                if not self._is_first():
                    watch.join(2 * PATIENCE)  # it may be the one that was first, and about to end this process
                    raise SystemExit(_FAILED) from None
                if isinstance(error, DistError) or (isinstance(error, RuntimeError) and _OF_GLOO in str(error)):
                    raise NmtError(f"{LOST} ({str(error).strip().partition(chr(10))[0]})") from error
                raise
            finally:
                self._over.set()
                # A thread that the end of the interpreter finds in a call of the store would abort the process.
                watch.join(PATIENCE)

    def _is_first(self) -> bool:
        """Whether no other process has failed before; sounds the alarm."""
        first = True
        with suppress(RuntimeError):  # the store is gone
            first = self._store.add("failed", 1) == 1
            self._let_others_leave()
        return first

    def _let_others_leave(self) -> None:
        """Say that the alarm is heard here; the process that keeps the store stays until all others have said so."""
        self._store.set(f"left {self._rank}", "")
        leaving = [f"left {rank}" for rank in range(self._size)]
        ends = time.monotonic() + PATIENCE  # those that are gone never do
        while self._keeps_store and time.monotonic() < ends and not self._store.check(leaving):
            time.sleep(_LOOK / 5)

    def _watch(self, store_answers: Callable[[], None]) -> None:
        """Look now and then whether another process has failed, or is gone: then the main thread waits in vain."""
        try:
            while not self._over.wait(_LOOK):
                self._store.add(f"alive {self._rank}", 1)
                gone = self._silent()
                if gone is not None and self._store.add("failed", 1) == 1:
                    tell(_SILENT.format(rank=gone, seconds=self._silence), "nmt-train: error")
                if self._store.add("failed", 0) and not self._over.is_set():  # set: it is this process's own failure
                    self._let_others_leave()
                    leave()
                store_answers()
        except RuntimeError:  # the store is gone, and the process that keeps it
            if not self._over.wait(PATIENCE):
                leave(LOST)

    def _silent(self) -> int | None:
        """A process that has not been heard of for too long."""
        for other, (count, looks) in self._heard.items():
            latest = self._store.add(f"alive {other}", 0)
            self._heard[other] = (latest, looks + 1 if latest == count else 0)
            if self._heard[other][1] * _LOOK > self._silence:
                return other
        return None


def leave(sentence: str = "", command: str = "nmt-train") -> None:
    """End this process at once, whatever its threads wait for."""
    if sentence:
        tell(sentence, f"{command}: error")
    os._exit(_FAILED)
