"""The weights of a checkpoint: one safetensors file, checked when it is read."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from nmt.config.migrate import SCHEMA, present_name
from nmt.errors import NmtError
from nmt.runs.checkpoints import WEIGHTS, CheckpointInfo, find_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn


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


def give_weights(
    model: nn.Module, run_dir: str | os.PathLike[str], checkpoint: str | int | None = None
) -> CheckpointInfo:
    """Give a model the weights of a run's checkpoint, named as for `load_weights`, and return which one it is.

    Raises NmtError for weights that are missing, damaged or of another model.
    """
    weights, info = load_weights(run_dir, checkpoint)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise NmtError(
            f"{run_dir}: the weights of checkpoint {info.name} do not fit config.yaml and tokenizer/: one of them was "
            "replaced after training"
        ) from error
    return info


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict that `save_weights` wrote, tied weights under each of their names.

    Weights that an earlier version of nmt named otherwise have today's names. Raises NmtError for a damaged file.
    """
    check_there(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("nmt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(path, str(error)) from error
    if header.get("crc32", (checksum := _checksum(tensors))) != checksum:
        raise damaged(path, "its checksum is another")
    weights = tensors | {name: tensors[first] for name, first in header.get("tied", {}).items()}
    # files of weights say which version they follow since version 3; version 2 renamed none
    return {present_name(name, header.get("schema", 2)): tensor for name, tensor in weights.items()}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    import torch

    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def check_there(path: Path) -> None:
    if not path.is_file():
        raise NmtError(f"{path} is missing: choose another checkpoint, or train again")


def damaged(path: Path, how: str) -> NmtError:
    return NmtError(f"{path} is truncated or corrupted ({how}): choose another checkpoint, or train again")
