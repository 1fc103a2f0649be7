"""A failure in one of several processes ends all of them, whatever the others are waiting for, and is told once."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from nmt.errors import NmtError

_FAILED = 1  # the status that all end with
_LOOK = 0.5  # seconds between two looks at whether a process has failed, or is still heard of
_PATIENCE = 10.0  # seconds that a process has to end by itself
_LOST = (
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


class Alarm:
    """Watches, in a thread, a counter of failures in the store that the processes have found each other by.

    Each process counts there, too, as long as it lives, and rank 0 looks whether the others do: a process may wait for
    another for as long as its work takes (`nmt.training.distributed.World.in_turn`), but not for one that is gone.
    """

    def __init__(self, store: Store, rank: int, size: int, silence: float, *, keeps_store: bool) -> None:
        """silence: seconds without a word of a process, after which it is given up.

        keeps_store: whether the store is in this process, and ends with it.
        """
        self._store = PrefixStore("alarm", store)
        self._rank = rank
        self._size = size
        self._silence = silence
        self._keeps_store = keeps_store
        self._over = threading.Event()
        self._heard = {other: (0, time.monotonic()) for other in range(1, size)}  # the last count, and since when

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The block ends where another process fails, by the end of this one.

        Where it fails itself, and is the first to, the exception goes on (NmtError for one that says that another
        process is gone); where it is not, a SystemExit does.
        """
        threading.Thread(target=self._watch, name="alarm", daemon=True).start()
        try:
            yield
        except BaseException as error:
            self._over.set()
            if not self._is_first():
                raise SystemExit(_FAILED) from None
            if _says_lost(error):
                raise NmtError(f"{_LOST} ({str(error).strip().partition(chr(10))[0]})") from error
            raise
        finally:
            self._over.set()

    def _is_first(self) -> bool:
        """Whether no other process has failed before; sounds the alarm."""
        try:
            if self._store.add("failed", 1) > 1:
                self._store.add("left", 1)
                return False
            ends = time.monotonic() + _PATIENCE
            while self._keeps_store and self._store.add("left", 0) < self._size - 1 and time.monotonic() < ends:
                time.sleep(_LOOK / 5)
        except RuntimeError:  # the store is gone
            pass
        return True

    def _watch(self) -> None:
        try:
            while not self._over.wait(_LOOK):
                if self._store.add("failed", 0) and not self._over.is_set():  # set: it is this process's own failure
                    self._store.add("left", 1)
                    break
                self._store.add(f"alive {self._rank}", 1)
                if self._rank == 0 and (gone := self._silent()) is not None and self._is_first():
                    print(f"nmt-train: error: {_SILENT.format(rank=gone, seconds=self._silence)}", file=sys.stderr)
                    break
            else:
                return
        except RuntimeError:  # the store is gone, and the process that keeps it
            if self._over.wait(_PATIENCE):
                return
            print(f"nmt-train: error: {_LOST}", file=sys.stderr)
        with suppress(ValueError, OSError):
            sys.stderr.flush()
        os._exit(_FAILED)  # the main thread may wait for something that will never come

    def _silent(self) -> int | None:
        """A process that has not been heard of for too long."""
        now = time.monotonic()
        for other, (count, since) in self._heard.items():
            if (latest := self._store.add(f"alive {other}", 0)) != count:
                self._heard[other] = (latest, now)
            elif now - since > self._silence:
                return other
        return None


def _says_lost(error: BaseException) -> bool:
    """Whether an exception is that of a connection to another process."""
    if isinstance(error, DistError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
