"""A process of several, of which one falls silent, as if its machine had vanished: `rank_silent RANK WHERE`.

WHERE: it stops while the processes join (`joining`), in its turn, which the others wait for as long as it takes
(`turn`), or when all do something together (`collective`). With `error` it fails in its turn instead, and those that
don't keep the store are late to hear of it.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from typing import Any

from nmt.errors import NmtError
from nmt.training import alarm, distributed


def main(silent: int, where: str) -> None:
    """Join the others; the silent one stops, and the others wait for it."""
    distributed.TIMEOUT = timedelta(seconds=10)
    if where == "error" and int(os.environ["RANK"]):
        alarm._LOOK = 3.0

    def stop() -> None:
        if int(os.environ["RANK"]) == silent:
            os.kill(os.getpid(), signal.SIGSTOP)

    def fail() -> None:
        if int(os.environ["RANK"]) == silent:
            raise NmtError("this one fails")

    class Joining(distributed.Processes):
        def __init__(self, *known: Any) -> None:
            stop()
            super().__init__(*known)

    if where == "joining":
        distributed.Processes = Joining  # type: ignore[misc]
    with distributed.joined() as world:
        if where == "turn":
            world.in_turn(stop)
        elif where == "error":
            world.in_turn(fail)
        else:
            stop()
            world.gather(None)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except NmtError as error:
        print(f"nmt-train: error: {error}", file=sys.stderr)
        sys.exit(1)
