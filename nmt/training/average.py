"""Average the weights of several checkpoints of a run (Vaswani et al. 2017, section 6.1).

Late in training, the weights of a run lie in one wide valley of the loss, and their mean tends to be closer to its
middle than any single checkpoint (Izmailov et al. 2018, on stochastic weight averaging).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from nmt.checksums import seal
from nmt.errors import NmtError
from nmt.files import atomic_directory
from nmt.partials import delete_leftovers
from nmt.reading import read_object
from nmt.runs.checkpoints import (
    WEIGHTS,
    CheckpointInfo,
    checkpoint_folders,
    checkpoints_folder,
    delete_checkpoint,
    find_checkpoint,
    has_pointer,
    saved_steps,
    set_pointer,
    step_of,
)
from nmt.runs.run import read_run_config
from nmt.runs.weights import load_weights, save_weights
from nmt.training.checkpoint import load_training_state
from nmt.training.limits import TrainingProgress


def kept_steps(run_dir: str | os.PathLike[str], of: Literal["best", "last"], count: int | None = None) -> list[int]:
    """Return the steps of the `count` best or last checkpoints that a run has kept, the best or the newest first.

    count=None stands for all of the best checkpoints, or for the last training.keep_last. Raises NmtError if the run
    has kept fewer than `count`, or fewer than two.
    """
    config = read_run_config(run_dir)
    saved = saved_steps(run_dir)
    if of == "best":
        state = load_training_state(find_checkpoint(run_dir, "last"))
        steps = [step for _, step in TrainingProgress.from_state_dict(state["progress"]).best if step in saved]
    else:
        steps = saved[::-1][: config.training.keep_last]  # older ones are kept because they are among the best
    least = max(2, count or 0)
    if len(steps) < least:
        raise NmtError(
            f"{run_dir} has kept {len(steps)} of its {of} checkpoints, too few for an average of {least}: train with "
            f"training.keep_{of}={least} or more, or average its {'last' if of == 'best' else 'best'} ones"
        )
    return steps[:count]


def average_checkpoints(run_dir: str | os.PathLike[str], steps: Collection[int]) -> dict[str, Tensor]:
    """Return the mean of the weights of several checkpoints of a run.

    The weights are summed in float64, with one checkpoint in memory at a time. They keep their dtypes, and tied weights
    stay tied; integer tensors are taken from the newest checkpoint. Raises NmtError if the checkpoints belong to
    different models.
    """
    newest, *older = sorted(set(steps), reverse=True)
    weights, _ = load_weights(run_dir, newest)
    layout = _layout(weights)
    sums = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
        if layout[name].first == name
    }
    del weights
    for step in older:
        weights, _ = load_weights(run_dir, step)
        if different := {name for name, _ in _layout(weights).items() ^ layout.items()}:
            raise NmtError(
                f"{run_dir}: the checkpoints of steps {step} and {newest} belong to different models ({min(different)} "
                "differs): average checkpoints of one training run"
            )
        for name, total in sums.items():
            if total.is_floating_point():
                total += weights[name]
        del weights  # free the memory before the next checkpoint is loaded
    means = {
        name: (total / (1 + len(older))).to(layout[name].dtype) if total.is_floating_point() else total
        for name, total in sums.items()
    }
    return {name: means[weight.first] for name, weight in layout.items()}


def take_average(run_dir: str | os.PathLike[str], weights: Mapping[str, Tensor], steps: Collection[int]) -> Path:
    """Save averaged weights as the run's averaged checkpoint, replacing an older one, and return its folder.

    The folder is named after the newest step, lists all steps in averaged.json, and is either complete or absent.
    """
    checkpoints = checkpoints_folder(run_dir)
    path = checkpoints / f"averaged-{max(steps):010d}"
    try:
        with atomic_directory(path) as folder:
            save_weights(folder / WEIGHTS, weights)
            (folder / "averaged.json").write_text(json.dumps({"steps": sorted(steps)}) + "\n", encoding="utf-8")
            seal(folder)
            if path.is_dir():  # it is about to be replaced, and meanwhile no pointer may refer to it
                (checkpoints / "averaged").unlink(missing_ok=True)
    except SafetensorError as error:
        raise NmtError(f"{path} could not be written: {error}") from error
    set_pointer(run_dir, "averaged", path.name)
    _delete_averages(run_dir, path.name)
    return path


def is_average_of(checkpoint: CheckpointInfo, steps: Collection[int]) -> bool:
    """Return whether an averaged checkpoint is the average of exactly these steps, according to its averaged.json."""
    try:
        return bool(read_object(checkpoint.path / "averaged.json").get("steps") == sorted(steps))
    except NmtError:
        return False


def delete_average(run_dir: str | os.PathLike[str]) -> bool:
    """Delete the run's averaged checkpoint; return whether there was one."""
    there = has_pointer(run_dir, "averaged")
    (checkpoints_folder(run_dir) / "averaged").unlink(missing_ok=True)
    _delete_averages(run_dir)
    return there


def _delete_averages(run_dir: str | os.PathLike[str], kept: str | None = None) -> None:
    for path in checkpoint_folders(run_dir, "averaged").values():
        if path.name != kept:
            delete_checkpoint(path)
    delete_leftovers(checkpoints_folder(run_dir), lambda name: step_of(name, "averaged") is not None)


class _Weight(NamedTuple):
    """The properties of a weight that have to be equal in all checkpoints that are averaged."""

    first: str  # the first of its names; tied weights share a tensor and so have the same first name
    shape: torch.Size
    dtype: torch.dtype


def _layout(weights: Mapping[str, Tensor]) -> dict[str, _Weight]:
    names: dict[int, str] = {}
    return {
        name: _Weight(names.setdefault(id(tensor), name), tensor.shape, tensor.dtype)
        for name, tensor in weights.items()
    }
