"""When a loss counts as diverged: the rule of the documentation, checked with numbers."""

from __future__ import annotations

import math

import pytest
import torch

from nmt.data.batching import Update
from nmt.training.distributed import World
from nmt.training.health import Diverged, Health

UPDATE = Update(0, 0, [], 1, 1, 2, 1)


def diverged(losses: list[float], norms: list[float] | None = None) -> int | None:
    """Return the number of the first bad update, counted from 1, or None if all are good."""
    health = Health(torch.device("cpu"), World())
    for step, (loss, norm) in enumerate(zip(losses, norms or [1.0] * len(losses), strict=True), start=1):
        health.watch(step, UPDATE, torch.tensor(loss), torch.tensor(norm))
    try:
        health.check()
    except Diverged as divergence:
        return int(str(divergence).split()[1])
    return None


@pytest.mark.parametrize(("lowest", "limit"), [(2.0, 5.0), (0.5, 2.0), (8.0, 17.0)])
def test_more_than_twice_the_lowest_and_a_nat(lowest: float, limit: float) -> None:
    """The running mean keeps nine tenths of its old value, and this single loss raises it to the limit."""
    reaches = lowest + (limit - lowest) / 0.1
    assert diverged([lowest, lowest, reaches - 0.01]) is None
    assert diverged([lowest, lowest, reaches + 0.01]) == 3


def test_the_running_mean_counts_and_not_a_single_loss() -> None:
    assert diverged([2.0] + [6.0] * 13) is None  # 2 + 4 (1 - 0.9^13) is just under 5
    assert diverged([2.0] + [6.0] * 14) == 15


def test_the_limit_is_taken_from_the_lowest_mean_there_has_been() -> None:
    """The losses rise by a twentieth each time, so a limit that rose with them would never be reached."""
    rising = [2.0 * 1.05**number for number in range(60)]
    means = [rising[0]]
    for loss in rising[1:]:
        means.append(0.9 * means[-1] + 0.1 * loss)
    first = next(number for number, mean in enumerate(means, start=1) if mean > 2 * rising[0] + 1)
    assert diverged(rising) == first < 60


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite(norm: float) -> None:
    assert diverged([2.0, 2.0, 2.0], [1.0, norm, 1.0]) == 2
