"""Loading a run directory: its configuration, tokenizer and trained model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.checksums import has_checksums
from nmt.config.load import config_to_yaml, read_config
from nmt.config.schema import Config
from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.messages import tell
from nmt.reading import opened
from nmt.runs.checkpoints import WEIGHTS, CheckpointInfo, find_checkpoint, read_checkpoint

if TYPE_CHECKING:
    from nmt.models.seq2seq import Seq2Seq

SHORTLIST = "shortlist.safetensors"  # file in a run directory, made by nmt-shortlist
DICTIONARY = "dictionary.tsv"  # file in a run directory, made by nmt-shortlist --dictionary or by the user


@dataclass(frozen=True)
class LoadedRun:
    """A trained run in memory, with its model on the CPU and in evaluation mode."""

    path: Path
    config: Config
    tokenizer: Tokenizer
    model: Seq2Seq
    checkpoint: CheckpointInfo  # the checkpoint that the weights were read from


def load_run(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> LoadedRun:
    """Load a run directory with the weights of a checkpoint, which is named as for `find_checkpoint`.

    None means averaged, best or last, whichever exists first in this order. Raises NmtError for a folder that is not a
    run or has no checkpoint yet, and if the tokenizer or the weights are missing, damaged or do not fit together.
    """
    # imported here because torch loads slowly, and callers that only read the configuration do not need it
    from nmt.device import limit_kernel_caches, reuse_memory
    from nmt.models.build import build_model
    from nmt.runs.weights import give_weights

    limit_kernel_caches()
    reuse_memory()
    path = Path(run_dir)
    config = read_run_config(path)
    tokenizer = Tokenizer.load(path / "tokenizer")
    model = build_model(config.model, tokenizer.source_size, tokenizer.target_size)
    info = give_weights(model, path, checkpoint)
    tell_if_unchecked(path, info)
    return LoadedRun(path, config, tokenizer, model.eval(), info)


def check_run(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> Config:
    """Return the configuration of a run after checking that the checkpoint exists; its weights are not read.

    Raises NmtError if the run or the checkpoint does not exist.
    """
    config = read_run_config(run_dir)
    find_checkpoint(run_dir, checkpoint)
    return config


def tell_if_unchecked(run_dir: Path, checkpoint: CheckpointInfo) -> None:
    """Say on stderr if the files of a run have no checksums, because an earlier version of nmt wrote them."""
    checkpoint_gone = not checkpoint.path.is_dir()  # training may have deleted it since it was read
    if not (has_checksums(run_dir / "tokenizer") and (checkpoint_gone or has_checksums(checkpoint.path))):
        tell(f"{run_dir} was written by an earlier version of nmt, without checksums: damage may go unnoticed")


def run_fingerprint(run_dir: str | os.PathLike[str], checkpoint: str | int | None = None) -> str:
    """Return a hash of everything that translations depend on: configuration, tokenizer, weights and added files.

    The hash covers the configuration as this version of nmt reads it, not the bytes of config.yaml: if a new version
    reads the settings of an old run differently, the hash changes.
    """
    config = read_run_config(run_dir)
    weights = read_checkpoint(run_dir, checkpoint, lambda info: _digest(info.path / WEIGHTS))
    total = blake2b(config_to_yaml(config).encode(), digest_size=16)
    path = Path(run_dir)
    added = [path / name for name in (SHORTLIST, DICTIONARY) if (path / name).is_file()]
    files = [_digest(file) for file in sorted((path / "tokenizer").glob("*.model"))]
    for digest in (*files, weights, *map(_digest, added)):
        total.update(digest)
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    with opened(path) as file:
        return file_digest(file, "blake2b").digest()


def read_run_config(run_dir: str | os.PathLike[str], tells: bool = False) -> Config:
    """Return the configuration that a run was trained with.

    With `tells`, print a line on stderr if the run was made by an earlier version of nmt and the default rules of
    search have changed since. Raises NmtError if the folder is not a run.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise NmtError(f"{path} {'is a file, not' if path.exists() else 'does not exist: give'} the directory of a run")
    if not (path / "config.yaml").is_file():
        raise NmtError(f"{path} is not a run directory: it has no config.yaml (nmt-train makes one)")
    return read_config(path / "config.yaml", tells=tells)
