"""How long the processes that torchrun started take to add up their gradients, and for what else an update exchanges.

torchrun --nproc-per-node N -m benchmarks.exchange NUMBERS RESULT.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from nmt.device import choose_device
from nmt.training.distributed import joined

TIMES, WARM_UP = 32, 2


def main(numbers: int, result: Path) -> None:
    """Write down the median of several times, in seconds."""
    with joined() as world:
        device = world.own_device(choose_device())
        gradients, losses = torch.ones(numbers, device=device), torch.ones(2, device=device)
        work: dict[str, Callable[[], object]] = {
            "gradients": lambda: float(world.sum(gradients)[0]),  # read: a GPU would not be waited for
            "losses": lambda: float(world.sum(losses)[0]),
            "agreement": lambda: world.agree(0.0, None),
        }
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(TIMES):
            for name, exchange in work.items():
                world.gather(None)  # all begin together
                started = time.perf_counter()
                exchange()
                seconds[name].append(time.perf_counter() - started)
        medians = {name: median(times[WARM_UP:]) for name, times in seconds.items()}
        world.on_main(lambda: result.write_text(json.dumps(medians), "utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
