"""The checkpoints of a run directory: their folders, and the names by which one is found. Nothing here takes torch.

checkpoints/step-0000012000/model.safetensors    the weights (nmt.runs.weights)
checkpoints/step-0000012000/training_state.pt    everything else that training goes on from (nmt.training.checkpoint)
checkpoints/averaged-0000012000/                 weights averaged up to that step (nmt.training.average)
checkpoints/{last,best,averaged}                 pointers: text files that hold the name of such a folder

What has any other name is the user's own, and is never touched.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nmt.errors import NmtError
from nmt.files import atomic_write, from_home

POINTERS = ("averaged", "best", "last")  # the order in which a checkpoint is looked for when none is named
WEIGHTS = "model.safetensors"
_NAME = re.compile(r"(?P<kind>step|averaged)-(?P<step>[0-9]{10})")  # of a checkpoint's folder


@dataclass(frozen=True)
class CheckpointInfo:
    """Which checkpoint: the name of its folder, the folder, and the update after which it was saved.

    The step of averaged weights is that of the newest checkpoint in the average.
    """

    name: str
    path: Path
    step: int

    @property
    def averaged(self) -> bool:
        """Whether these are averaged weights, without a state to train on from."""
        return self.name.startswith("averaged-")


def find_checkpoint(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> CheckpointInfo:
    """Which checkpoint of a run is meant, by whatever names one.

    That is best, last, averaged, a step, the name of a folder (step-0000012000), the path of one, or None: averaged,
    best or last, the first there is. Raises NmtError where it is not there.
    """
    folder = checkpoints_folder(run_dir)
    if checkpoint is None:
        checkpoint = next((name for name in POINTERS if has_pointer(run_dir, name)), None)
        if checkpoint is None and saved_steps(run_dir):
            raise NmtError(
                f"{run_dir} names none of its checkpoints as the best or last: choose a step{_there(run_dir)}"
            )
        if checkpoint is None:
            raise NmtError(f"{run_dir} has no checkpoint yet: train it first, or further")
    name = _name_of(run_dir, checkpoint)
    step = step_of(name)
    if step is None or not (folder / name).is_dir():
        named = "" if checkpoint == name else f" ({checkpoint})"
        raise NmtError(f"{run_dir} has no checkpoint {name}{named}{_there(run_dir)}")
    return CheckpointInfo(name, folder / name, step)


def _name_of(run_dir: str | os.PathLike[str], checkpoint: str | int) -> str:
    """The name of the folder that is meant by best, last, averaged, a step, the folder's name or its path."""
    if isinstance(checkpoint, int) or checkpoint.isdecimal():
        return step_name(int(checkpoint))
    folder, given = checkpoints_folder(run_dir), Path(from_home(checkpoint))
    name = given.name
    if len(given.parts) > 1 and given.parent.resolve() != folder.resolve():
        raise NmtError(f"{checkpoint} is no checkpoint of {run_dir}{_there(run_dir)}")
    if name in POINTERS:
        if not has_pointer(run_dir, name):
            raise NmtError(f"{run_dir} has no {name} checkpoint{_there(run_dir)}")
        return _read_pointer(folder / name)
    if step_of(name) is None:
        raise NmtError(
            f"there is no checkpoint {checkpoint!r}: choose best, last, averaged, the number of a step or the name of "
            f"a folder in {folder}"
        )
    return name


def has_checkpoint(run_dir: str | os.PathLike[str]) -> bool:
    """Whether a training has left anything here: weights of a step or averaged ones, or a name for them."""
    pointers = any(has_pointer(run_dir, pointer) for pointer in POINTERS)
    return pointers or any(checkpoint_folders(run_dir, "step")) or any(checkpoint_folders(run_dir, "averaged"))


def has_pointer(run_dir: str | os.PathLike[str], name: str) -> bool:
    """Whether checkpoints/NAME (last, best or averaged) is there."""
    return (checkpoints_folder(run_dir) / name).is_file()


def saved_steps(run_dir: str | os.PathLike[str]) -> list[int]:
    """The steps whose checkpoints are there, in ascending order."""
    return sorted(checkpoint_folders(run_dir, "step"))


def checkpoint_folders(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"]) -> dict[int, Path]:
    """The folders of a run's checkpoints, or of its averages, by step: those whose names are exactly theirs."""
    there = {step_of(path.name, kind): path for path in checkpoints_folder(run_dir).glob(f"{kind}-*") if path.is_dir()}
    return {step: path for step, path in there.items() if step is not None}


def pointed_step(run_dir: str | os.PathLike[str], pointer: str) -> int | None:
    """The step that a pointer names, whether its folder is there or not; None where it names none."""
    path = checkpoints_folder(run_dir) / pointer
    return step_of(_read_pointer(path), "step") if path.is_file() else None


def _read_pointer(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def set_pointer(run_dir: str | os.PathLike[str], name: str, target: int | str) -> None:
    """Let checkpoints/NAME point to the checkpoint of a step, or to the folder of that name."""
    with atomic_write(checkpoints_folder(run_dir) / name) as file:
        file.write((step_name(target) if isinstance(target, int) else target) + "\n")


def delete_checkpoint(path: Path) -> None:
    """Delete the folder of a checkpoint; a link in its place is not followed, and stays."""
    if not path.is_symlink():
        shutil.rmtree(path)


def refuse_strangers(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"] | None = None) -> None:
    """Refuse a run directory where a file or a link has the name of a checkpoint's folder, and so is in its way."""
    for path in sorted(checkpoints_folder(run_dir).glob("*")):
        if step_of(path.name, kind) is not None and (path.is_symlink() or not path.is_dir()):
            raise NmtError(
                f"{path} is a {'link' if path.is_symlink() else 'file'}, and has the name of a checkpoint's folder: "
                "move it away, or give it another name"
            )


def checkpoints_folder(run_dir: str | os.PathLike[str]) -> Path:
    return Path(run_dir) / "checkpoints"


def step_name(step: int) -> str:
    return f"step-{step:010d}"


def step_of(name: str, kind: Literal["step", "averaged"] | None = None) -> int | None:
    """The step in the name of a checkpoint's folder, of that kind if one is given; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match["step"]) if match and kind in (None, match["kind"]) else None


def _there(run_dir: str | os.PathLike[str]) -> str:
    steps = saved_steps(run_dir)
    return f"; it has those of steps {', '.join(map(str, steps))}" if steps else ""
