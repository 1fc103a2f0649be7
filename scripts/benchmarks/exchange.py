"""How long the processes that torchrun started take to add up their gradients.

torchrun --nproc-per-node N -m benchmarks.exchange NUMBERS RESULT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

from nmt.device import choose_device
from nmt.training.distributed import joined

TIMES, WARM_UP = 12, 2


def main(numbers: int, result: Path) -> None:
    """Write down the median of several times, in seconds."""
    with joined() as world:
        device = world.own_device(choose_device())
        gradients = torch.ones(numbers, device=device)
        seconds = []
        for _ in range(TIMES):
            world.gather(None)  # all begin together
            started = time.perf_counter()
            float(world.sum(gradients)[0])  # read: a GPU would not be waited for
            seconds.append(time.perf_counter() - started)
        world.on_main(lambda: result.write_text(json.dumps(median(seconds[WARM_UP:])), "utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
