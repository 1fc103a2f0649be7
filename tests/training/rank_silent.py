"""One of several processes, of which one is suspended, as if its machine had vanished: `rank_silent RANK WHERE`.

WHERE says when process RANK is suspended: when the processes have found each other and none has continued yet
(`meeting`), while they form the group (`joining`), in its turn, while the others wait without a limit (`turn`), or in a
collective operation (`collective`). With `error` it fails in its turn instead, and the processes that don't host the
store notice it late; a process that ends in the usual way aborts. With `leaving`, torch hangs while it destroys the
process group. With `alone` there is no other process to find.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from torch.distributed.rendezvous import rendezvous

from nmt.errors import NmtError
from nmt.training import alarm, distributed

_TIMEOUTS = {"alone": 1, "error": 10, "leaving": 10}  # seconds; the last two are started anew, which takes a while


def main(arguments: Sequence[str]) -> int:
    """Join the other processes; the silent one is suspended, and the others wait for it. Returns the exit status."""
    silent, where = int(arguments[0]), arguments[1]
    try:
        _join(silent, where)
    except NmtError as error:
        print(f"nmt-train: error: {error}", file=sys.stderr)
        return 1
    return 0


def _join(silent: int, where: str) -> None:
    distributed.TIMEOUT = timedelta(seconds=_TIMEOUTS.get(where, 5))
    if where != "error":
        alarm.PATIENCE = distributed.PATIENCE = 3.0
    if where == "error":
        atexit.register(os.abort)  # what threads of the process group do now and then while the interpreter ends
    if where == "error" and int(os.environ["RANK"]):
        alarm._LOOK = 3.0

    def stop() -> None:
        if int(os.environ["RANK"]) == silent:
            os.kill(os.getpid(), signal.SIGSTOP)

    def fail() -> None:
        if int(os.environ["RANK"]) == silent:
            raise NmtError("this one fails")

    def meet(*known: Any, **options: Any) -> Iterator[Any]:
        """Suspend the silent process once all others have arrived here; they continue when it is suspended."""
        store, rank, size = next(rendezvous(*known, **options))
        if rank == silent:
            store.set("process", str(os.getpid()))
            store.wait([f"knows {other}" for other in range(size) if other != rank])
            stop()
        process = store.get("process").decode()
        store.set(f"knows {rank}", "")
        while "T" not in subprocess.check_output(["ps", "-o", "state=", "-p", process], text=True):
            time.sleep(0.05)
        yield store, rank, size

    class Joining(distributed.Processes):
        def __init__(self, store: Any, rank: int, size: int) -> None:
            if rank == silent:
                store.wait([f"joins {other}" for other in range(size) if other != rank])
                stop()
            store.set(f"joins {rank}", "")
            super().__init__(store, rank, size)

    if where == "meeting":
        distributed.rendezvous = meet  # type: ignore[assignment]
    if where == "joining":
        distributed.Processes = Joining  # type: ignore[misc]
    if where == "leaving" and int(os.environ["RANK"]) == silent:
        distributed.dist.destroy_process_group = lambda: time.sleep(1000)
    with distributed.joined() as world:
        if where == "leaving":
            distributed.TIMEOUT = timedelta(seconds=1)
        if where == "turn":
            world.in_turn(stop)
        elif where == "error":
            world.in_turn(fail)
        elif where == "collective":
            stop()
            world.gather(None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
