"""A failure in one of several processes ends all of them, whatever the others are waiting for, and is told once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
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
_SIGNS = (
    "gloo/transport",
    "TCPStore",
    "Broken pipe",
    "Connection reset",
    "Connection closed",
    "recvValue",
    "sendBytes",
)


@contextmanager
def limited(seconds: float, sentence: str, command: str = "nmt-train") -> Iterator[None]:
    """End this process, with a sentence of `command`, where the block has not ended after so long.

    For calls that may wait without a limit where no alarm is watching: those of a store that has stopped but whose
    connections are open have no answer and no end. Time is counted in looks, as the alarm does, so that a process that
    was stopped itself has lost none.
    """
    over = threading.Event()

    def watch() -> None:
        if not any(over.wait(_LOOK) for _ in range(round(seconds / _LOOK))):
            _tell(sentence, command)
            _leave()

    thread = threading.Thread(target=watch, name="limit", daemon=True)
    thread.start()
    try:
        yield
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
        self._left = threading.Event()  # and nothing is asked of the store any more
        self._looks = 0
        # The last count of each that is watched, and how many looks have found it. Seconds would be those of this
        # process's own suspension, too.
        self._heard = dict.fromkeys(range(1, size) if rank == 0 else (0,), (0, 0))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The block ends where another process fails, by the end of this one.

        Where it fails itself, and is the first to, the exception goes on (NmtError for one that says that another
        process is gone); where it is not, a SystemExit does.
        """
        watch = threading.Thread(target=self._watch, name="alarm", daemon=True)
        watch_of_store = threading.Thread(target=self._watch_the_store, name="alarm of the store", daemon=True)
        watch.start()
        watch_of_store.start()
        try:
            yield
        except BaseException as error:
            self._over.set()
            if not self._is_first():
                watch.join(2 * PATIENCE)  # it may be the one that was first, and about to end this process
                raise SystemExit(_FAILED) from None
            if _says_lost(error):
                raise NmtError(f"{LOST} ({str(error).strip().partition(chr(10))[0]})") from error
            raise
        finally:
            self._over.set()
            self._left.set()
            # A thread that the end of the interpreter finds in a call of the store would abort the process.
            for thread in (watch, watch_of_store):
                thread.join(PATIENCE)

    def _is_first(self) -> bool:
        """Whether no other process has failed before; sounds the alarm."""
        first = True
        with suppress(RuntimeError):  # the store is gone
            first = self._store.add("failed", 1) == 1
            self._let_others_leave(first)
        return first

    def _let_others_leave(self, first: bool) -> None:
        """Say that the alarm was heard, if it is not this process's own; its store stays until all others have."""
        if not first:
            self._store.add(f"left {self._rank}", 1)
        ends = time.monotonic() + PATIENCE
        while self._keeps_store and time.monotonic() < ends:
            if sum(self._store.add(f"left {rank}", 0) > 0 for rank in range(self._size)) == self._size - 1:
                break
            time.sleep(_LOOK / 5)

    def _watch(self) -> None:
        try:
            while not self._over.wait(_LOOK):
                if self._store.add("failed", 0) and not self._over.is_set():  # set: it is this process's own failure
                    self._let_others_leave(False)
                    break
                self._store.add(f"alive {self._rank}", 1)
                if (gone := self._silent()) is not None:
                    if first := self._store.add("failed", 1) == 1:
                        _tell(_SILENT.format(rank=gone, seconds=self._silence))
                    self._let_others_leave(first)
                    break
                self._looks += 1
            else:
                return
        except RuntimeError:  # the store is gone, and the process that keeps it
            if self._over.wait(PATIENCE):
                return
            _tell(LOST)
        _leave()  # the main thread may wait for something that will never come

    def _silent(self) -> int | None:
        """A process that has not been heard of for too long."""
        for other, (count, looks) in self._heard.items():
            latest = self._store.add(f"alive {other}", 0)
            self._heard[other] = (latest, looks + 1 if latest == count else 0)
            if self._heard[other][1] * _LOOK > self._silence:
                return other
        return None

    def _watch_the_store(self) -> None:
        """The store's own machine may be gone: a question to it then has no answer, and no end.

        Not even the question of a process that has failed for that very reason, whether it is the first.
        """
        before, looks = -1, 0
        while not self._left.wait(_LOOK):
            before, looks = self._looks, looks + 1 if self._looks == before else 0
            if looks * _LOOK > self._silence + PATIENCE:
                _tell(LOST)
                _leave()


def _tell(sentence: str, command: str = "nmt-train") -> None:
    tell(sentence, f"{command}: error")


def _leave() -> None:
    os._exit(_FAILED)


def _says_lost(error: BaseException) -> bool:
    """Whether an exception is that of a connection to another process."""
    if isinstance(error, DistError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
