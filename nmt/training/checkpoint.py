"""Checkpoints of a run directory: written whole or not at all, pointed to by name, checked when read.

checkpoints/step-0000012000/model.safetensors    the weights; tied weights once
checkpoints/step-0000012000/training_state.pt    everything else that training goes on from
checkpoints/averaged-0000012000/                 weights averaged up to that step (nmt.training.average)
checkpoints/{last,best,averaged}                 pointers: text files that hold the name of such a folder

What has any other name is the user's own, and is never touched.

torch is imported by what reads or writes tensors: to find a checkpoint takes none.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from zipfile import BadZipFile, ZipFile

from safetensors import SafetensorError, safe_open

from nmt.config.migrate import SCHEMA, present_name
from nmt.errors import NmtError
from nmt.files import atomic_directory, atomic_write, from_home, leftover_of

if TYPE_CHECKING:
    from torch import Tensor, nn

POINTERS = ("averaged", "best", "last")  # the order in which a checkpoint is looked for when none is named
WEIGHTS, _STATE = "model.safetensors", "training_state.pt"
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


def save_checkpoint(run_dir: str | os.PathLike[str], step: int, model: nn.Module, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` and point `last` to it.

    state holds tensors, numbers, texts, and lists and dicts of them. Raises NmtError, with the checkpoints before it
    untouched, when it cannot be written.
    """
    import torch

    path = _folder(run_dir) / _name(step)
    try:
        if _pointed(run_dir, "last") == step and path.is_dir():  # the weights are there already
            with atomic_write(path / _STATE, "wb") as file:
                torch.save(dict(state), file)
            return path
        with atomic_directory(path) as folder:
            save_weights(folder / WEIGHTS, model)
            torch.save(dict(state), folder / _STATE)
    except (NmtError, OSError, RuntimeError, SafetensorError) as error:
        reason = "the disk may be full" if isinstance(error, RuntimeError) else str(error)
        raise NmtError(f"the checkpoint {path} could not be saved ({reason}); the one before it is kept") from error
    set_pointer(run_dir, "last", step)
    return path


def save_weights(path: Path, weights: nn.Module | Mapping[str, Tensor]) -> None:
    """Write the weights of a model, or of a dict like `read_weights`'s, as safetensors.

    A tied weight, one tensor under several names, is written once, with its other names and a checksum in the header.
    """
    from safetensors.torch import save_file
    from torch import nn

    if isinstance(weights, nn.Module):
        weights = weights.state_dict(keep_vars=True)
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in weights.items():
        if (first := names.setdefault(id(tensor), name)) == name:
            tensors[name] = tensor.detach().cpu().contiguous()
        else:
            tied[name] = first
    header = {"schema": SCHEMA, "tied": tied, "crc32": _checksum(tensors)}
    save_file(tensors, path, {"nmt": json.dumps(header)})  # one key: several would come in any order


def load_weights(
    run_dir: str | os.PathLike[str], checkpoint: str | int | None = None
) -> tuple[dict[str, Tensor], CheckpointInfo]:
    """The state dict of a run's checkpoint, on the CPU, and which one it is.

    checkpoint is best, last, averaged or a step; None takes the averaged one if there is one, else the best, else the
    last. Raises NmtError for one that is missing, truncated or corrupted.
    """
    info = find_checkpoint(run_dir, checkpoint)
    return read_weights(info.path / WEIGHTS), info


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict that `save_weights` wrote, tied weights under each of their names.

    Weights that an earlier version of nmt named otherwise have today's names. Raises NmtError for a damaged file.
    """
    _check_there(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("nmt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if header.get("crc32", (checksum := _checksum(tensors))) != checksum:
        raise _damaged(path, "its checksum is another")
    weights = tensors | {name: tensors[first] for name, first in header.get("tied", {}).items()}
    # files of weights say which version they follow since version 3; version 2 renamed none
    return {present_name(name, header.get("schema", 2)): tensor for name, tensor in weights.items()}


def load_training_state(info: CheckpointInfo) -> dict[str, Any]:
    """What `save_checkpoint` was given beside the model, on the CPU. Raises NmtError where it is missing or damaged."""
    import torch

    if info.averaged:
        raise NmtError(f"{info.path} is an average, which no training can go on from: choose best, last or a step")
    path = info.path / _STATE
    _check_there(path)
    try:
        with ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise BadZipFile("a checksum is another")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        raise _damaged(path, str(error).partition("\n")[0]) from error
    return state


class Newest(NamedTuple):
    """A checkpoint to train on from."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


def load_newest(run_dir: str | os.PathLike[str], say: Callable[[str], None]) -> Newest:
    """The last checkpoint of a run, or the one before it where that is damaged, which is said.

    Where none is named as the last, that is the newest one, which is said too. Raises NmtError where none can be read.
    """
    last, steps = _pointed(run_dir, "last"), saved_steps(run_dir)[::-1]
    if last is not None:
        steps = [last, *(step for step in steps if step < last)]
    elif steps:
        say(f"{_folder(run_dir) / 'last'} names no checkpoint: going on from the newest one, that of step {steps[0]:,}")
    else:
        raise NmtError(
            f"{_folder(run_dir)} has no step-... folder that training can go on from: copy those of the run there, or "
            f"choose another folder with run_dir=OTHER (where fine_tune.run={run_dir} starts from averaged weights)"
        )
    damaged: list[NmtError] = []
    for step in steps:
        try:
            weights, info = load_weights(run_dir, step)
            state = load_training_state(info)
        except NmtError as error:
            damaged.append(error)
            continue
        if damaged:
            for damage in damaged:
                say(str(damage))
            say(f"going on from the checkpoint before, that of step {step:,}")
        if step != last:
            set_pointer(run_dir, "last", step)
        return Newest(step, weights, state)
    raise damaged[0]


def _pointed(run_dir: str | os.PathLike[str], pointer: str) -> int | None:
    """The step that a pointer names, whether its folder is there or not; None where it names none."""
    path = _folder(run_dir) / pointer
    return _step_of(_read_pointer(path), "step") if path.is_file() else None


def _read_pointer(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _step_of(name: str, kind: Literal["step", "averaged"] | None = None) -> int | None:
    """The step in the name of a checkpoint's folder, of that kind if one is given; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match["step"]) if match and kind in (None, match["kind"]) else None


def find_checkpoint(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> CheckpointInfo:
    """Which checkpoint of a run is meant, by whatever names one.

    That is best, last, averaged, a step, the name of a folder (step-0000012000), the path of one, or None: averaged,
    best or last, the first there is. Raises NmtError where it is not there.
    """
    folder = _folder(run_dir)
    if checkpoint is None:
        checkpoint = next((name for name in POINTERS if has_pointer(run_dir, name)), None)
        if checkpoint is None and saved_steps(run_dir):
            raise NmtError(
                f"{run_dir} names none of its checkpoints as the best or last: choose a step{_there(run_dir)}"
            )
        if checkpoint is None:
            raise NmtError(f"{run_dir} has no checkpoint yet: train it first, or further")
    name = _name_of(run_dir, checkpoint)
    step = _step_of(name)
    if step is None or not (folder / name).is_dir():
        named = "" if checkpoint == name else f" ({checkpoint})"
        raise NmtError(f"{run_dir} has no checkpoint {name}{named}{_there(run_dir)}")
    return CheckpointInfo(name, folder / name, step)


def _name_of(run_dir: str | os.PathLike[str], checkpoint: str | int) -> str:
    """The name of the folder that is meant by best, last, averaged, a step, the folder's name or its path."""
    if isinstance(checkpoint, int) or checkpoint.isdecimal():
        return _name(int(checkpoint))
    folder, given = _folder(run_dir), Path(from_home(checkpoint))
    name = given.name
    if len(given.parts) > 1 and given.parent.resolve() != folder.resolve():
        raise NmtError(f"{checkpoint} is no checkpoint of {run_dir}{_there(run_dir)}")
    if name in POINTERS:
        if not has_pointer(run_dir, name):
            raise NmtError(f"{run_dir} has no {name} checkpoint{_there(run_dir)}")
        return _read_pointer(folder / name)
    if _step_of(name) is None:
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
    return (_folder(run_dir) / name).is_file()


def saved_steps(run_dir: str | os.PathLike[str]) -> list[int]:
    """The steps whose checkpoints are there, in ascending order."""
    return sorted(checkpoint_folders(run_dir, "step"))


def checkpoint_folders(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"]) -> dict[int, Path]:
    """The folders of a run's checkpoints, or of its averages, by step: those whose names are exactly theirs."""
    there = {_step_of(path.name, kind): path for path in _folder(run_dir).glob(f"{kind}-*") if path.is_dir()}
    return {step: path for step, path in there.items() if step is not None}


def delete_checkpoint(path: Path) -> None:
    """Delete the folder of a checkpoint; a link in its place is not followed, and stays."""
    if not path.is_symlink():
        shutil.rmtree(path)


def refuse_strangers(run_dir: str | os.PathLike[str], kind: Literal["step", "averaged"] | None = None) -> None:
    """Refuse a run directory where a file or a link has the name of a checkpoint's folder, and so is in its way."""
    for path in sorted(_folder(run_dir).glob("*")):
        if _step_of(path.name, kind) is not None and (path.is_symlink() or not path.is_dir()):
            raise NmtError(
                f"{path} is a {'link' if path.is_symlink() else 'file'}, and has the name of a checkpoint's folder: "
                "move it away, or give it another name"
            )


def set_pointer(run_dir: str | os.PathLike[str], name: str, target: int | str) -> None:
    """Let checkpoints/NAME point to the checkpoint of a step, or to the folder of that name."""
    with atomic_write(_folder(run_dir) / name) as file:
        file.write((_name(target) if isinstance(target, int) else target) + "\n")


def delete_others(run_dir: str | os.PathLike[str], kept: Iterable[int]) -> None:
    """Delete the checkpoints of all steps but those in `kept`, and what an interrupted save left behind."""
    kept = set(kept)
    folders = checkpoint_folders(run_dir, "step")
    for step, path in folders.items():
        if step not in kept:
            delete_checkpoint(path)
    for folder in (_folder(run_dir), *(path for step, path in folders.items() if step in kept)):
        for path in folder.glob(".*.partial"):
            name = leftover_of(path)
            if name in (*POINTERS, _STATE) and path.is_file():
                path.unlink(missing_ok=True)
            elif name is not None and _step_of(name) is not None:
                shutil.rmtree(path, ignore_errors=True)


def _folder(run_dir: str | os.PathLike[str]) -> Path:
    return Path(run_dir) / "checkpoints"


def _name(step: int) -> str:
    return f"step-{step:010d}"


def _there(run_dir: str | os.PathLike[str]) -> str:
    steps = saved_steps(run_dir)
    return f"; it has those of steps {', '.join(map(str, steps))}" if steps else ""


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    import torch

    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise NmtError(f"{path} is missing: choose another checkpoint, or train again")


def _damaged(path: Path, how: str) -> NmtError:
    return NmtError(f"{path} is truncated or corrupted ({how}): choose another checkpoint, or train again")
