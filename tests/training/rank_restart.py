"""A process started by torchrun whose first attempt fails on rank 1 while the other waits; the next attempt succeeds.

`rank_restart MISHAP FILE`: rank 1 raises an error or is killed (MISHAP `error` or `killed`) if FILE does not exist, and
creates FILE. The next attempt prints the ranks and the turns of `World.in_turn`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from nmt.errors import NmtError
from nmt.training.distributed import joined


def main(mishap: str, done: Path) -> None:
    """Fail in the first attempt; in the next one use the operations that a training uses."""
    with joined() as world:
        ranks = world.gather(world.rank)
        if world.rank == 1 and not done.exists():
            done.touch()
            if mishap == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise NmtError("the first attempt fails")
        turn = world.in_turn(lambda: f"rank {world.rank}")
        world.on_main(lambda: print(f"{ranks}, {turn}"))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except NmtError as error:
        sys.exit(str(error))
