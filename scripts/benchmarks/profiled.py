"""Find out where the time of an update goes, with PyTorch's profiler."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import WARM_UP_UPDATES, synchronise
from benchmarks.toolkit import nmt_train_with
from nmt.data.batching import Update
from nmt.training.trainer import Trainer

UPDATES = 10  # number of updates that are profiled
SHOWN = 16  # number of operators in the table


def train(config: str, device: torch.device) -> dict[str, Any]:
    """Profile a few updates of `nmt-train config`.

    Return the milliseconds per update and, for each operator, its share of that time (without the operators that it
    calls) and its calls per update. The profiler itself takes some time at every call.
    """
    found: dict[str, Any] = {}
    on_cuda = device.type == "cuda"
    profiler = profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])])

    class ProfiledTrainer(Trainer):
        started = 0.0

        def train_step(self, update: Update) -> None:
            if self.progress.step == WARM_UP_UPDATES:
                synchronise(device)
                profiler.start()
                self.started = time.perf_counter()
            super().train_step(update)
            if self.progress.step == WARM_UP_UPDATES + UPDATES:
                synchronise(device)
                seconds = time.perf_counter() - self.started
                profiler.stop()
                found.update(summary(profiler, seconds, on_cuda))
                raise SystemExit(0)

    nmt_train_with(ProfiledTrainer, config)
    return found


def summary(profiler: profile, seconds: float, on_cuda: bool) -> dict[str, Any]:
    """Return the operators that take most of `seconds`, the share of all others, and the time between operators."""
    key = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    operators = [
        {"operator": event.key, "share": getattr(event, key) / 1e6 / seconds, "calls": event.count / UPDATES}
        for event in profiler.key_averages()
    ]
    operators.sort(key=lambda operator: -operator["share"])
    return {
        "milliseconds": 1e3 * seconds / UPDATES,
        "operators": operators[:SHOWN],
        "others": sum(operator["share"] for operator in operators[SHOWN:]),
        "between": 1 - sum(operator["share"] for operator in operators),
    }
