"""Measure a training loop in a window of time after a warm-up: tokens, seconds and memory."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from benchmarks.memory import peak_memory_mib
from nmt.models.flops import terms

Item = TypeVar("Item")

WARM_UP_UPDATES = 5  # the minimum
SIZES = {
    "cpu": (512, 1024, 2048),
    "cuda": (2048, 4096, 8192),
}  # sizes of the square matrix products from which the peak speed is measured
PEAK_SECONDS = 0.5  # time spent on each size


class Meter:
    """A meter that counts what a training loop consumes in one window of `seconds`, after a warm-up of half that time.

    The loop calls `add` after each update until it returns True. A loop that takes its batches from an iterator can
    wrap it in `waiting`, which measures the time until each batch is ready. On an accelerator, the meter waits for the
    device at both ends of the window, but not in between.
    """

    def __init__(self, seconds: float, device: torch.device) -> None:
        self.seconds = seconds
        self.device = device
        self.result: dict[str, Any] | None = None  # set at the end of the window
        self._waited: float | None = None  # seconds; None if the loop does not use `waiting`
        self._first: float | None = None  # time at the end of the first update
        self._begun: float | None = None  # time at the beginning of the window
        self._reset()

    def add(self, source: ArrayLike, target: ArrayLike, padded_tokens: int) -> bool:
        """Count an update of pairs with these lengths; return whether to stop. `padded_tokens` counts both sides."""
        now = time.monotonic()
        self._updates += 1
        self._terms += terms(source, target).sum(axis=1)
        self._padded_tokens += padded_tokens
        if self._begun is None:
            self._first = now if self._first is None else self._first
            if self._updates >= WARM_UP_UPDATES and now - self._first >= self.seconds / 2:
                synchronise(self.device)
                self._reset()
                self._begun = time.monotonic()
            return False
        if now - self._begun < self.seconds:
            return False
        synchronise(self.device)
        self._end(time.monotonic() - self._begun)
        return True

    def waiting(self, items: Iterator[Item]) -> Generator[Item, None, None]:
        """Yield the items, and add up the time until each is ready."""
        while True:
            started = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited = (self._waited or 0.0) + time.monotonic() - started
            yield item

    def _reset(self) -> None:
        self._updates = 0
        self._terms = np.zeros(6)  # sums of `flops.terms`: pairs, source tokens, target tokens, their products
        self._padded_tokens = 0
        self._waited = None if self._waited is None else 0.0

    def _end(self, seconds: float) -> None:
        cuda = self.device.type == "cuda"
        self.result = {
            "seconds": seconds,
            "updates": self._updates,
            "source_tokens": int(self._terms[1]),
            "target_tokens": int(self._terms[2]),
            "padded_tokens": self._padded_tokens,
            "terms": self._terms.tolist(),
            "waited": self._waited,
            "peak_memory_mib": peak_memory_mib(),
            "peak_gpu_memory_mib": torch.cuda.max_memory_allocated(self.device) / 2**20 if cuda else None,
        }


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def matrix_product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of the fastest of a few square matrix products, with the settings of this process."""
    best = 0.0
    repetitions = 1 if device.type == "cpu" else 10
    for size in SIZES.get(device.type, SIZES["cpu"]):
        one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = torch.mm(one, other)
        end = time.monotonic() + PEAK_SECONDS
        while True:
            synchronise(device)
            started = time.perf_counter()
            for _ in range(repetitions):
                torch.mm(one, other, out=product)
            synchronise(device)
            best = max(best, repetitions * 2 * size**3 / (time.perf_counter() - started))
            if time.monotonic() > end:
                break
    return best
