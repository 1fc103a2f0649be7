"""A process of test_distributed.py: compute the gradients of every model with the others; rank 0 saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nmt.config.schema import TrainingConfig
from nmt.data.batch import Batch, collate
from nmt.data.batching import Update
from nmt.training.distributed import World, joined
from nmt.training.objective import Gradients
from tests.models.variants import REPRESENTATIVES, VARIANTS, tiny_model

PAIRS = [([4] * n + [3], [*[5, 6, 7, 8, 9, 10, 4][:m], 3]) for n, m in [(1, 6), (2, 2), (7, 1), (3, 3), (5, 4)]]
# The micro-batches of each of two processes: uneven shares, one process with more than the other, one with none.
UPDATES = [[[[0, 1], [2]], [[3, 4]]], [[[3]], []], [[], [[4, 0]]], [[[2], [1]], [[0], [3, 4]]]]
# Representatives, and every model with losses of its own. Monotonic attention has no gradient in evaluation mode; these
# variants have neither dropout nor noise.
NAMES = [name for name in VARIANTS if name in REPRESENTATIVES or "monotonic" in name or tiny_model(name).loss_names]
CASES: dict[str, dict[str, Any]] = {name: {"train": "monotonic" in name} for name in NAMES} | {
    "transformer-pre": {"rdrop": 1.0},
    "transformer-post": {"freeze": "encoder"},
}


def batch(rows: list[int]) -> Batch:
    return collate([PAIRS[row][0] for row in rows], [PAIRS[row][1] for row in rows])


def update(split: list[list[int]], rows: list[int]) -> Update:
    """Return an update of `rows`, of which this process has the micro-batches of `split`."""
    source, target = (sum(len(PAIRS[row][side]) for row in rows) for side in (0, 1))
    return Update(0, 0, [batch(part) for part in split], source, target, source + target, len(rows))


def gradients(name: str, world: World, *, whole: bool) -> list[dict[str, Any]]:
    """Return the losses and gradients of each update; with `whole`, an update is a single micro-batch."""
    model, case = tiny_model(name), dict(CASES[name])
    frozen = case.pop("freeze", None)
    model.train(case.pop("train", False))
    for key, weight in model.named_parameters():
        weight.requires_grad_(frozen is None or not key.startswith(frozen))
    work = Gradients(model, TrainingConfig(max_steps=1, **case), torch.device("cpu"), world)
    found = []
    for split in UPDATES:
        rows = [row for parts in split for part in parts for row in part]
        of_all = [part for parts in split for part in parts]
        mine = [rows] if whole else split[world.rank] if world.size > 1 else of_all
        losses = work.of(update(mine, rows), 0)
        trained = {key: weight.grad for key, weight in model.named_parameters() if weight.requires_grad}
        found.append(
            {"losses": losses} | {key: None if grad is None else grad.clone() for key, grad in trained.items()}
        )
        model.zero_grad(set_to_none=True)
    return found


def main(arguments: Sequence[str]) -> int:
    """Compute the gradients, save them in the file that is the only argument, and return the exit status."""
    torch.set_num_threads(1)
    with joined() as together:
        everything = {name: gradients(name, together, whole=False) for name in CASES}
        together.on_main(lambda: torch.save(everything, Path(arguments[0])))
    return 0
