"""Measure how long processes take to sum their gradients, and for the other exchanges of an update.

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
    """Time each exchange several times and write the median seconds as JSON."""
    with joined() as world:
        device = world.own_device(choose_device())
        gradients, losses = torch.ones(numbers, device=device), torch.ones(2, device=device)
        work: dict[str, Callable[[], object]] = {
            "gradients": lambda: float(world.sum(gradients)[0]),  # reading a value waits for the GPU
            "losses": lambda: float(world.sum(losses)[0]),
            "agreement": lambda: world.agree(0.0, None),
        }
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(TIMES):
            for name, exchange in work.items():
                world.gather(None)  # so that all processes begin at the same time
                started = time.perf_counter()
                exchange()
                seconds[name].append(time.perf_counter() - started)
        medians = {name: median(times[WARM_UP:]) for name, times in seconds.items()}
        world.on_main(lambda: result.write_text(json.dumps(medians), "utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
