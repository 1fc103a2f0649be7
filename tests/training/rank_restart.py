"""A process of torchrun whose first attempt fails on rank 1 while the other waits; prints what the next one finds."""

from __future__ import annotations

import os
import sys

from nmt.errors import NmtError
from nmt.training.distributed import joined


def main() -> None:
    """Fail in the first attempt; in the next one do what a training does together."""
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with joined() as world:
        ranks = world.gather(world.rank)
        if first and world.rank == 1:
            raise NmtError("the first attempt fails")
        turn = world.in_turn(lambda: f"rank {world.rank}")
        world.on_main(lambda: print(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}: {ranks}, {turn}"))


if __name__ == "__main__":
    try:
        main()
    except NmtError as error:
        sys.exit(str(error))
