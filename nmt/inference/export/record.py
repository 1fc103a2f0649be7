"""The record nmt.json in an export: the checkpoint and tokenizer it was made from, which show if it is up to date."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.reading import opened, read_object, reading
from nmt.runs.checkpoints import WEIGHTS, CheckpointInfo

RECORD = "nmt.json"


@dataclass(frozen=True)
class ExportRecord:
    """The checkpoint and tokenizer that an export was made from, and the number of its positions."""

    checkpoint: str  # name of the checkpoint's folder
    step: int
    weights_sha256: str  # hash of the checkpoint's weights file
    tokenizer: str  # Tokenizer.fingerprint
    positions: int  # maximum length of sources and translations, in tokens with the end of sentence

    @classmethod
    def of(cls, checkpoint: CheckpointInfo, tokenizer: Tokenizer, positions: int) -> ExportRecord:
        """Return the record for a new export of this checkpoint and tokenizer."""
        return cls(checkpoint.name, checkpoint.step, _sha256(checkpoint.path), tokenizer.fingerprint, positions)

    def write(self, folder: Path) -> None:
        """Write the record into the folder of the export."""
        (folder / RECORD).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """Read the record of the export in `folder`; raises Damaged, or NmtError if the system cannot read it."""
        path = folder / RECORD
        if not path.exists():
            raise NmtError(f"{folder} is no export of nmt: it has no {RECORD}")
        with reading(path, "make the export again"):
            record = cls(**read_object(path))
            if not isinstance(record.positions, int):
                raise TypeError("positions")
            return record


def _sha256(checkpoint: Path) -> str:
    with opened(checkpoint / WEIGHTS) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
