"""The checkpoint folders of a run directory, and the names by which they are found. Does not import torch.

checkpoints/step-0000012000/model.safetensors    the weights (nmt.runs.weights)
checkpoints/step-0000012000/training_state.pt    everything else needed to resume training (nmt.training.checkpoint)
checkpoints/averaged-0000012000/                 an average of weights up to that step (nmt.training.average)
checkpoints/{last,best,averaged}                 pointers: text files that hold the name of one of these folders

Files and folders with other names belong to the user and are never touched.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from nmt.errors import Damaged, NmtError
from nmt.files import atomic_write, from_home

T = TypeVar("T")

POINTERS = ("averaged", "best", "last")  # tried in this order if no checkpoint is named
WEIGHTS = "model.safetensors"
_LONGEST_NAME = 100  # characters that are read of a pointer
_ATTEMPTS = 10  # to read a checkpoint by a pointer's name while training deletes what the pointer referred to
_NAME = re.compile(r"(?P<kind>step|averaged)-(?P<step>[0-9]{10})")  # name of a checkpoint folder


@dataclass(frozen=True)
class CheckpointInfo:
    """The name, folder and step of a checkpoint."""

    name: str  # name of the folder, such as step-0000012000
    path: Path  # the folder
    step: int  # number of updates before it was saved; for averaged weights, that of the newest one in the average

    @property
    def averaged(self) -> bool:
        """True if these are averaged weights, from which training cannot be resumed."""
        return self.name.startswith("averaged-")


def find_checkpoint(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> CheckpointInfo:
    """Return the checkpoint of a run that `checkpoint` refers to.

    It can be best, last, averaged, a step number, the name of a checkpoint folder (step-0000012000), or its path. None
    means averaged, best or last, whichever exists first in this order. Raises NmtError if there is no such checkpoint.
    """
    return read_checkpoint(run_dir, checkpoint, lambda found: found)


def read_checkpoint(
    run_dir: str | os.PathLike[str], checkpoint: str | int | None, read: Callable[[CheckpointInfo], T]
) -> T:
    """Return what `read` returns for the checkpoint that `checkpoint` refers to; see `find_checkpoint`.

    A training that keeps few checkpoints may delete this one while it is read. The pointer (last, best or averaged)
    then refers to another checkpoint, and `read` is called again with that one. Raises NmtError if this happens too
    often, if there is no such checkpoint, or if `read` does.
    """
    name = _name_of(run_dir, checkpoint)
    for _ in range(_ATTEMPTS):
        try:
            return read(_existing(run_dir, name, checkpoint))
        except (NmtError, OSError):
            before, name = name, _name_of(run_dir, checkpoint)
            if name == before:
                raise
    raise NmtError(
        f"{run_dir} is being trained, and its checkpoint was deleted {_ATTEMPTS} times while it was read: try again, "
        "or name the step of a checkpoint that is kept"
    )


def _existing(run_dir: str | os.PathLike[str], name: str, checkpoint: str | int | None) -> CheckpointInfo:
    """Return the checkpoint in the folder `name`, which `checkpoint` refers to; raise NmtError if there is none."""
    path, step = checkpoints_folder(run_dir) / name, step_of(name)
    if step is None or not path.is_dir():
        named = "" if checkpoint in (name, None) else f" ({checkpoint})"
        raise NmtError(f"{run_dir} has no checkpoint {name}{named}{_listed(run_dir)}")
    return CheckpointInfo(name, path, step)


_DIGITS = 18  # of the largest step that is looked for


def _name_of(run_dir: str | os.PathLike[str], checkpoint: str | int | None) -> str:
    """Return the name of the folder that `checkpoint` refers to; see `find_checkpoint` for what it can be."""
    if checkpoint is None:
        pointed = (_pointed_name(run_dir, pointer) for pointer in POINTERS)
        if (name := next((each for each in pointed if each is not None), None)) is not None:
            return name
        if saved_steps(run_dir):
            raise NmtError(
                f"{run_dir} has checkpoints, but none is marked as best or last: choose a step{_listed(run_dir)}"
            )
        raise NmtError(f"{run_dir} has no checkpoint yet: train it first, or train it for longer")
    if isinstance(checkpoint, int) or (checkpoint.isdecimal() and len(checkpoint) <= _DIGITS):
        return step_name(int(checkpoint))
    folder, given = checkpoints_folder(run_dir), Path(from_home(checkpoint))
    name = given.name
    if len(given.parts) > 1 and given.parent.resolve() != folder.resolve():
        raise NmtError(f"{checkpoint} is no checkpoint of {run_dir}{_listed(run_dir)}")
    if name in POINTERS:
        if (target := _pointed_name(run_dir, name)) is None:
            raise NmtError(f"{run_dir} has no {name} checkpoint{_listed(run_dir)}")
        return target
    if step_of(name) is None:
        raise NmtError(
            f"there is no checkpoint {checkpoint!r}: choose best, last, averaged, a step number or the name of a "
            f"folder in {folder}"
        )
    return name


def has_checkpoint(run_dir: str | os.PathLike[str]) -> bool:
    """Return whether the run has any checkpoint folder, of a step or averaged, or any pointer."""
    pointers = any(has_pointer(run_dir, pointer) for pointer in POINTERS)
    return pointers or any(checkpoint_folders(run_dir, "step")) or any(checkpoint_folders(run_dir, "averaged"))


def has_pointer(run_dir: str | os.PathLike[str], name: str) -> bool:
    """Return whether the pointer checkpoints/NAME (last, best or averaged) exists."""
    return (checkpoints_folder(run_dir) / name).is_file()


def saved_steps(run_dir: str | os.PathLike[str]) -> list[int]:
    """Return the steps of the run's checkpoints, in ascending order; averages are not included."""
    return sorted(checkpoint_folders(run_dir, "step"))


def checkpoint_folders(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"]) -> dict[int, Path]:
    """Return a dict from step to checkpoint folder, for the run's step checkpoints ("step") or averages ("averaged").

    Folders with other names are ignored.
    """
    there = {step_of(path.name, kind): path for path in checkpoints_folder(run_dir).glob(f"{kind}-*") if path.is_dir()}
    return {step: path for step, path in there.items() if step is not None}


def pointed_step(run_dir: str | os.PathLike[str], pointer: str) -> int | None:
    """Return the step that a pointer refers to, whether its folder exists or not.

    Returns None if there is no such pointer, or if it does not refer to the checkpoint of a step.
    """
    name = _read_pointer(run_dir, pointer)
    return None if name is None else step_of(name, "step")


def _pointed_name(run_dir: str | os.PathLike[str], pointer: str) -> str | None:
    """Return what `_read_pointer` returns; raise Damaged if that cannot be the name of a checkpoint's folder."""
    name = _read_pointer(run_dir, pointer)
    if name is not None and step_of(name) is None:
        path = checkpoints_folder(run_dir) / pointer
        raise Damaged(f"{path} is damaged: it does not hold the name of a checkpoint's folder: name a step instead")
    return name


def _read_pointer(run_dir: str | os.PathLike[str], name: str) -> str | None:
    """Return the name of the folder that the pointer checkpoints/NAME refers to; None if there is no such pointer."""
    path = checkpoints_folder(run_dir) / name
    if not path.is_file():  # a pipe would keep its reader waiting for ever
        return None
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST_NAME).strip()
    except FileNotFoundError:  # training replaces it at this moment
        return None


def set_pointer(run_dir: str | os.PathLike[str], name: str, target: int | str) -> None:
    """Make the pointer checkpoints/NAME refer to a checkpoint, given by its step or the name of its folder."""
    with atomic_write(checkpoints_folder(run_dir) / name) as file:
        file.write((step_name(target) if isinstance(target, int) else target) + "\n")


def remove_pointer(run_dir: str | os.PathLike[str], name: str) -> None:
    """Remove the pointer checkpoints/NAME, if there is one."""
    (checkpoints_folder(run_dir) / name).unlink(missing_ok=True)


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint folder. If the path is a symbolic link, neither the link nor its target is deleted."""
    if not path.is_symlink():
        shutil.rmtree(path)


def refuse_strangers(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"] | None = None) -> None:
    """Raise NmtError if a file or a symbolic link has the name of a checkpoint folder, so that none can be saved there.

    With `kind`, only the names of step checkpoints ("step") or of averages ("averaged") are checked.
    """
    for path in sorted(checkpoints_folder(run_dir).glob("*")):
        if step_of(path.name, kind) is not None and (path.is_symlink() or not path.is_dir()):
            raise NmtError(
                f"{path} is a {'link' if path.is_symlink() else 'file'}, and has the name of a checkpoint's folder: "
                "move it elsewhere or rename it"
            )


def checkpoints_folder(run_dir: str | os.PathLike[str]) -> Path:
    """Return the folder of a run that holds its checkpoints."""
    return Path(run_dir) / "checkpoints"


def step_name(step: int) -> str:
    """Return the folder name for the checkpoint of a step."""
    return f"step-{step:010d}"


def step_of(name: str, kind: Literal["step", "averaged"] | None = None) -> int | None:
    """Return the step in the name of a checkpoint folder; None for other names, and for folders of another kind."""
    match = _NAME.fullmatch(name)
    return int(match["step"]) if match and kind in (None, match["kind"]) else None


def _listed(run_dir: str | os.PathLike[str]) -> str:
    """Return the steps that have a checkpoint, as the end of an error message."""
    steps = saved_steps(run_dir)
    return f"; it has checkpoints of steps {', '.join(map(str, steps))}" if steps else ""
