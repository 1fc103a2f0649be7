"""Finding an up-to-date export of a run, or making it when it is first needed; only making one imports torch."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nmt.checksums import unlisted, verify
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.tokenizer import Tokenizer
from nmt.errors import Damaged, NmtError
from nmt.files import check_writable, follow, in_turn, kept_if_filled
from nmt.inference.export.record import RECORD, ExportRecord
from nmt.runs.checkpoints import CheckpointInfo, read_checkpoint

_LEAST_POSITIONS = 1024  # leaves room for higher length limits than the run's, and costs a few megabytes at most
_THREADS = threading.Lock()  # because the lock file keeps out other processes, but not other threads of this one


class Inexpressible(NmtError):
    """The error that the model has a part or an option that CTranslate2 cannot express."""


def check_family(run_dir: str | os.PathLike[str], config: Config) -> None:
    """Raise Inexpressible if CTranslate2 does not support this model family at all; only the configuration is read."""
    if not isinstance(config.model, TransformerConfig):
        raise Inexpressible(
            f"{run_dir} cannot be exported for CTranslate2, which has no layers for model.family={config.model.family}"
        )


def positions_for(config: Config) -> int:
    """Return the maximum length of sources and translations in an export, in tokens with the end of sentence."""
    most = config.data.cleaning.max_tokens
    return max(_LEAST_POSITIONS, most, config.search.longest(most))


def export_folder(run_dir: str | os.PathLike[str]) -> Path:
    """Return the default folder of a run's export, whether it exists or not."""
    return Path(run_dir) / "exports" / "ctranslate2"


def place_of_export(run_dir: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder to export to: the given one, or the run's default.

    Raises NmtError if the folder holds something other than an export, or cannot be written.
    """
    path = export_folder(run_dir) if folder is None else Path(folder)
    if path.exists() and not (path / RECORD).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise NmtError(f"{path} exists and is not an export, so it is not replaced: choose another folder")
    if others := unlisted(path):
        raise NmtError(
            f"{path} has files that are not part of the export ({', '.join(others[:3])}), which would be deleted with "
            "the old one: move them elsewhere, or choose another folder"
        )
    _check_writable(path)
    return path


@contextmanager
def exclusively(path: Path, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Lock the export at `path` during the block, so that nobody else writes it or loads it with `current_export`.

    If another process holds the lock, call `tell` with a message and wait.
    """
    place = follow(path)

    def wait() -> None:
        tell(f"waiting for another command that is making or loading {path}")

    with kept_if_filled(place.parent), _THREADS, in_turn(place.with_name(f".{place.name}.lock"), wait):
        yield


@contextmanager
def current_export(
    run_dir: str | os.PathLike[str],
    config: Config,
    checkpoint: str | int | None,
    tokenizer: Tokenizer,
    tell: Callable[[str], None],
) -> Iterator[Path]:
    """Yield the folder with an up-to-date export of a run's checkpoint, which nobody changes during the block.

    If there is no export, or one of other weights, of another tokenizer or with fewer positions, the run is exported
    first, and `tell` is called with a message. If the run directory cannot be written, the export goes to a temporary
    folder. Raises NmtError as `export` does.
    """
    folder, positions = export_folder(run_dir), positions_for(config)

    def is_current(info: CheckpointInfo) -> bool:
        if not (folder / RECORD).is_file():
            return False
        try:
            record = ExportRecord.read(folder)
            if not verify(folder):  # of an earlier version, without checksums: made again once
                return False
        except Damaged as error:
            tell(str(error))
            return False
        return record.positions >= positions and record == ExportRecord.of(info, tokenizer, record.positions)

    def make(info: CheckpointInfo, place: Path, reason: str = "") -> None:
        tell(f"exporting {info.name} for CTranslate2 to {place}{reason}")
        from nmt.inference.export.ctranslate2 import write
        from nmt.runs.run import load_run

        write(load_run(run_dir, info.name), place)

    # read-only run directory: use its export if that is up to date, otherwise make a temporary one
    try:
        _check_writable(folder)
    except NmtError:
        if read_checkpoint(run_dir, checkpoint, is_current):
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="nmt-") as temporary:
            place = Path(temporary) / "ctranslate2"
            reason = f", since {folder} cannot be written"
            read_checkpoint(run_dir, checkpoint, lambda info: make(info, place, reason))
            yield place
        return
    with exclusively(folder, tell):
        read_checkpoint(
            run_dir, checkpoint, lambda info: None if is_current(info) else make(info, place_of_export(run_dir))
        )
        yield folder


def _check_writable(path: Path) -> None:
    check_writable(path, folder=True)
    check_writable(follow(path).parent, folder=True)  # a new export is written next to the one that it replaces
