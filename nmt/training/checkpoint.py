"""Write and read the checkpoints that training resumes from: complete or absent on disk, and checked when read."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from nmt.checksums import CHECKSUMS, replacing, seal
from nmt.errors import Damaged, NmtError, is_out_of_memory, unreadable
from nmt.files import atomic_directory
from nmt.partials import delete_leftovers
from nmt.runs.checkpoints import (
    POINTERS,
    WEIGHTS,
    CheckpointInfo,
    checkpoint_folders,
    checkpoints_folder,
    delete_checkpoint,
    pointed_step,
    saved_steps,
    set_pointer,
    step_name,
    step_of,
)
from nmt.runs.weights import check_whole, damaged, load_weights, save_weights
from nmt.training.limits import TrainingProgress

_STATE = "training_state.pt"


def save_checkpoint(run_dir: str | os.PathLike[str], step: int, model: nn.Module, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step`, make `last` point to it, and return its folder.

    `state` may hold tensors, numbers, strings, and lists and dicts of these. Raises NmtError if the checkpoint cannot
    be written; earlier checkpoints are then unchanged.
    """
    path = checkpoints_folder(run_dir) / step_name(step)
    try:
        if pointed_step(run_dir, "last") == step and path.is_dir():  # its weights have been written before
            with replacing(path / _STATE) as file:
                torch.save(dict(state), file)
            return path
        with atomic_directory(path) as folder:
            save_weights(folder / WEIGHTS, model)
            torch.save(dict(state), folder / _STATE)
            seal(folder)
    except (NmtError, OSError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        kept = "; the one before it is kept" if saved_steps(run_dir) else ""
        raise NmtError(f"the checkpoint {path} could not be saved ({_why(error)}){kept}") from error
    set_pointer(run_dir, "last", step)
    return path


def _why(error: Exception) -> str:
    """Return in a few words why a checkpoint could not be written."""
    of_writer = isinstance(error, RuntimeError) and re.search("inline_container|PytorchStreamWriter", str(error))
    return "the disk may be full" if of_writer else str(error).partition("\n")[0]


def load_training_state(info: CheckpointInfo) -> dict[str, Any]:
    """Read the `state` that was given to `save_checkpoint`, with all tensors on the CPU.

    Raises Damaged if the file is missing or damaged, and NmtError if the system cannot read it.
    """
    if info.averaged:
        raise NmtError(f"{info.path} is an average, and training cannot continue from one: choose best, last or a step")
    path = info.path / _STATE
    sealed = check_whole(path)
    try:
        if not sealed:
            with ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise BadZipFile("a checksum does not match")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise unreadable(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        raise damaged(path, str(error).partition("\n")[0]) from error
    return state


class Newest(NamedTuple):
    """A checkpoint to resume training from."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def progress(self) -> TrainingProgress:
        """The progress of the run at this checkpoint; NmtError if another version of nmt wrote it otherwise."""
        try:
            return TrainingProgress.from_state_dict(self.state["progress"])
        except (KeyError, TypeError) as error:
            raise NmtError(
                f"the checkpoint of step {self.step:,} has no progress that this version of nmt can read: start a new "
                "run with run_dir=OTHER, or start from its weights with fine_tune.run"
            ) from error


def load_newest(run_dir: str | os.PathLike[str], say: Callable[[str], None]) -> Newest:
    """Read the last checkpoint of a run, or the newest readable one before it if the last is damaged.

    If `last` names no checkpoint, start with the newest one. Both cases are reported through `say`. Raises NmtError if
    no checkpoint can be read.
    """
    folder = checkpoints_folder(run_dir)
    last, steps = pointed_step(run_dir, "last"), saved_steps(run_dir)[::-1]
    if last is not None:
        steps = [last, *(step for step in steps if step < last)]
    elif steps:
        say(f"{folder / 'last'} names no checkpoint: continuing from the newest one, step {steps[0]:,}")
    else:
        raise NmtError(
            f"{folder} has no step-... folder that training can continue from: copy the run's step-... folders there, "
            f"or choose another folder with run_dir=OTHER (fine_tune.run={run_dir} then starts from averaged weights)"
        )
    refused: list[Damaged] = []
    there = saved_steps(run_dir)
    for step in steps:
        if step not in there and step != steps[-1]:
            refused.append(Damaged(f"{folder / step_name(step)} is missing"))
            continue
        try:
            weights, info = load_weights(run_dir, step)
            state = load_training_state(info)
        except Damaged as error:
            refused.append(error)
            continue
        if refused:
            for refusal in refused:
                say(str(refusal))
            say(f"continuing from an earlier checkpoint, step {step:,}")
        if step != last:
            set_pointer(run_dir, "last", step)
        return Newest(step, weights, state)
    raise refused[0]


def delete_others(run_dir: str | os.PathLike[str], kept: Iterable[int]) -> None:
    """Delete all checkpoints except those of the steps in `kept`, and the temporary files of interrupted saves."""
    kept = set(kept)
    folders = checkpoint_folders(run_dir, "step")
    for step, path in folders.items():
        if step not in kept:
            delete_checkpoint(path)
    for folder in (checkpoints_folder(run_dir), *(path for step, path in folders.items() if step in kept)):
        delete_leftovers(folder, lambda name: name in (*POINTERS, _STATE, CHECKSUMS) or step_of(name) is not None)
