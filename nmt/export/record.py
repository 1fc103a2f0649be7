"""What an export was made of, kept beside it, so that one that is out of date is not taken for the run; needs no torch.

RUN_DIR/exports/FORMAT/nmt.json    which checkpoint and vocabulary, for the files of the format that lie there
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.training.checkpoint import WEIGHTS, CheckpointInfo, find_checkpoint

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
        except FileNotFoundError as error:
            raise NmtError(f"{folder} is no export of nmt: it has no {RECORD}") from error
        except (ValueError, TypeError) as error:
            raise NmtError(f"{folder / RECORD} is damaged: make the export again") from error


def export_folder(run_dir: str | os.PathLike[str], format: str) -> Path:
    """Where a run's export of that format is, or would be."""
    return Path(run_dir) / "exports" / format


def find_export(
    run_dir: str | os.PathLike[str], format: str, checkpoint: str | int | None, tokenizer: Tokenizer
) -> Path:
    """A run's export of that format, which must be of the run's checkpoint and tokenizer as they are.

    checkpoint is chosen as by `find_checkpoint`. Raises NmtError, with the command that mends it, where there is no
    export or one of other weights.
    """
    info, folder = find_checkpoint(run_dir, checkpoint), export_folder(run_dir, format)
    command = f"nmt-export {run_dir} --format {format}" + ("" if checkpoint is None else f" --checkpoint {checkpoint}")
    if not folder.is_dir():
        raise NmtError(f"{run_dir} has not been exported for {format} yet: run {command}")
    record = ExportRecord.read(folder)
    if record.checkpoint != info.name:
        raise NmtError(f"{folder} was made of {record.checkpoint}, and what is asked for is {info.name}: run {command}")
    if record != ExportRecord.of(info, tokenizer, record.positions):
        raise NmtError(f"{folder} is older than the run, whose weights or tokenizer are others now: run {command}")
    return folder


def _sha256(checkpoint: Path) -> str:
    with (checkpoint / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
