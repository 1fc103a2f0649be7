"""Writing and reading the weights of a checkpoint: a safetensors file with a checksum."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from nmt.checksums import verify
from nmt.config.migrate import SCHEMA, present_name
from nmt.errors import Damaged, NmtError, is_out_of_memory, unreadable
from nmt.reading import opened
from nmt.runs.checkpoints import WEIGHTS, CheckpointInfo, read_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn


def save_weights(path: Path, weights: nn.Module | Mapping[str, Tensor]) -> None:
    """Write the weights of a model, or a state dict as `read_weights` returns it, to a safetensors file.

    A tied weight, which is one tensor under several names, is stored once. The header of the file holds the other names
    of tied weights and a checksum of all tensors.
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
    save_file(tensors, path, {"nmt": json.dumps(header)})  # one key: several would come in random order


def load_weights(
    run_dir: str | os.PathLike[str], checkpoint: str | int | None = None
) -> tuple[dict[str, Tensor], CheckpointInfo]:
    """Return the state dict of a run's checkpoint, on the CPU, and the checkpoint that it was read from.

    `checkpoint` is named as for `find_checkpoint`; None means averaged, best or last, whichever exists first. Raises
    NmtError if the weights are missing, truncated or corrupted.
    """
    return read_checkpoint(run_dir, checkpoint, lambda info: (read_weights(info.path / WEIGHTS), info))


def give_weights(
    model: nn.Module, run_dir: str | os.PathLike[str], checkpoint: str | int | None = None
) -> CheckpointInfo:
    """Load the weights of a run's checkpoint into a model and return the checkpoint; see `load_weights`.

    Raises NmtError if the weights are missing, damaged or belong to another model.
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
    """Read a file that `save_weights` wrote and return the state dict, with tied weights under all of their names.

    Weights from earlier versions of nmt are renamed to their current names. Raises Damaged if the file is missing or
    damaged, and NmtError if the system cannot read it.
    """
    sealed = check_whole(path)
    try:
        with opened(path):  # a failure of the system is told here, and would be a SafetensorError below
            pass
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("nmt", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if not sealed and header.get("crc32", (checksum := _checksum(tensors))) != checksum:
            raise damaged(path, "its checksum does not match")
        weights = tensors | {name: tensors[first] for name, first in header.get("tied", {}).items()}
        # files without a schema are older than version 3; 2 is right for them, since version 2 renamed no weights
        return {present_name(name, header.get("schema", 2)): tensor for name, tensor in weights.items()}
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise damaged(path, str(error)) from error
    except RuntimeError as error:  # torch could not open the file, or map it into memory
        if is_out_of_memory(error):
            raise
        raise NmtError(f"{path} could not be read: {str(error).rpartition(': ')[2]}") from error


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a CRC-32 over the bytes of all tensors, in the order of their names."""
    import torch

    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def check_whole(path: Path) -> bool:
    """Check a file of a checkpoint against the checksums of its folder; return False if the folder has none.

    Raises Damaged if the file is missing or has another content.
    """
    if not path.is_file():
        raise Damaged(f"{path} is missing: choose another checkpoint, or train again")
    try:
        return verify(path.parent, [path.name])
    except Damaged as error:
        raise Damaged(f"{error}: choose another checkpoint, or train again") from error


def damaged(path: Path, how: str) -> Damaged:
    """Return the error to raise for a damaged file of a checkpoint; `how` says what is wrong with it."""
    return Damaged(f"{path} is truncated or corrupted ({how}): choose another checkpoint, or train again")
