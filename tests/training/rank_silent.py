"""A process of several, of which one falls silent, as if its machine had vanished: `rank_silent RANK turn|collective`.

It stops in its turn, which the others wait for as long as it takes, or when all do something together.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

from nmt.errors import NmtError
from nmt.training import distributed


def main(silent: int, where: str) -> None:
    """Join the others; the silent one stops, and the others wait for it."""
    distributed.TIMEOUT = timedelta(seconds=10)
    with distributed.joined() as world:

        def stop() -> None:
            if world.rank == silent:
                os.kill(os.getpid(), signal.SIGSTOP)

        if where == "turn":
            world.in_turn(stop)
        else:
            stop()
            world.gather(None)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except NmtError as error:
        print(f"nmt-train: error: {error}", file=sys.stderr)
        sys.exit(1)
