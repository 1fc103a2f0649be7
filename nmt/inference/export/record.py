"""The record nmt.json beside an export: the checkpoint and tokenizer it was made of, to tell when it is out of date."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.runs.checkpoints import WEIGHTS, CheckpointInfo

RECORD = "nmt.json"


@dataclass(frozen=True)
class ExportRecord:
    """The source of an export."""

    checkpoint: str  # the name of its folder
    step: int
    weights_sha256: str  # of the checkpoint's weights file
    tokenizer: str  # Tokenizer.fingerprint
    positions: int  # the longest source or target, in tokens with the end of sentence

    @classmethod
    def of(cls, checkpoint: CheckpointInfo, tokenizer: Tokenizer, positions: int) -> ExportRecord:
        """The record of an export that is made now."""
        return cls(checkpoint.name, checkpoint.step, _sha256(checkpoint.path), tokenizer.fingerprint, positions)

    def write(self, folder: Path) -> None:
        """Put the record beside the export in `folder`."""
        (folder / RECORD).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """The record of the export in `folder`. Raises NmtError where there is none, or none that can be read."""
        try:
            return cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        except OSError as error:
            raise NmtError(f"{folder} is no export of nmt: it has no {RECORD}") from error
        except (ValueError, TypeError) as error:
            raise NmtError(f"{folder / RECORD} is damaged: make the export again") from error


def _sha256(checkpoint: Path) -> str:
    with (checkpoint / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
