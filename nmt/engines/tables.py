"""Tables that a run keeps for its searches: safetensors, with the tokenizer that ids are of and a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.files import atomic_write

Tables = Mapping[str, Tensor]


def save_tables(path: Path, tables: Tables, tokenizer: Tokenizer) -> Path:
    """Write them, for that tokenizer's ids, and return the file: complete or absent."""
    from safetensors.torch import save

    header = {"tokenizer": tokenizer.fingerprint, "digest": digest(tables)}
    with atomic_write(path, "wb") as file:
        file.write(save(dict(tables), {"nmt": json.dumps(header)}))
    return path


def load_tables(path: Path, tokenizer: Tokenizer, option: str, command: str) -> dict[str, Tensor]:
    """The tables of a file that `command RUN_DIR` makes for searches with `option`, whole numbers as int64.

    Raises NmtError where it is missing, damaged or of another tokenizer.
    """
    again = f"run {command} {path.parent}"
    if not path.is_file():
        raise NmtError(f"{option} needs {path}, which is not there yet: {again}")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["nmt"])
            tables = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header["digest"] != digest(tables):
            raise ValueError("its checksum is another")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise NmtError(f"{path} is truncated or corrupted ({error}): {again}") from error
    if header["tokenizer"] != tokenizer.fingerprint:
        raise NmtError(f"{path} was made for another vocabulary than that of {path.parent}: {again}")
    return tables


def digest(tables: Tables) -> str:
    """The same where all tables are, in any order."""
    state = blake2b(digest_size=16)
    for name in sorted(tables, reverse=True):
        table = _widened(tables[name])
        state.update(f"{list(table.shape)}".encode())
        state.update(table.cpu().numpy().tobytes())
    return state.hexdigest()


def _widened(table: Tensor) -> Tensor:
    return table if table.is_floating_point() else table.long()
