"""A process of two, of which rank 1 falls silent in its turn, as if its machine had vanished."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from nmt.training import distributed


def main() -> None:
    """Rank 1 stops; rank 0 waits for it, for as long as its turn takes."""
    distributed.TIMEOUT = timedelta(seconds=5)
    with distributed.joined() as world:
        world.in_turn(lambda: None if world.is_main else os.kill(os.getpid(), signal.SIGSTOP))


if __name__ == "__main__":
    main()
