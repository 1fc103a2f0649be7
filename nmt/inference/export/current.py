"""The export of a run's weights as they are: found, or made when it is first needed. Imports torch only to make one."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.files import check_writable, follow, in_turn, kept_if_filled
from nmt.inference.export.record import RECORD, ExportRecord
from nmt.runs.checkpoints import find_checkpoint

_LEAST_POSITIONS = 1024  # room for other limits than the run's, at a few megabytes at most
_THREADS = threading.Lock()  # the lock file keeps other processes out, and not other threads


class Inexpressible(NmtError):
    """An error: the model has a part or an option that CTranslate2 does not have."""


def check_family(run_dir: str | os.PathLike[str], config: Config) -> None:
    """Raise Inexpressible for a model of whose kind CTranslate2 has nothing, before its weights are read."""
    if not isinstance(config.model, TransformerConfig):
        raise Inexpressible(
            f"{run_dir} cannot be exported for CTranslate2, which has no layers for model.family={config.model.family}"
        )


def positions_for(config: Config) -> int:
    """Return for how many tokens, end of sentence included, of a source or a translation an export has positions."""
    most = config.data.cleaning.max_tokens
    return max(_LEAST_POSITIONS, most, config.search.longest(most))


def export_folder(run_dir: str | os.PathLike[str]) -> Path:
    """Return where a run's export is, or would be."""
    return Path(run_dir) / "exports" / "ctranslate2"


def place_of_export(run_dir: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that an export goes to: the given one, or the run's.

    Raises NmtError for a folder that holds something else, and for one that cannot be written.
    """
    path = export_folder(run_dir) if folder is None else Path(folder)
    if path.exists() and not (path / RECORD).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise NmtError(f"{path} is there and is no export, which could be replaced: choose another folder")
    _check_writable(path)
    return path


@contextmanager
def exclusively(path: Path, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Let nobody else write an export to `path`, or load one from there with `current_export`, during the block.

    `tell` is told where another process does so, which is waited for.
    """
    place = follow(path)

    def wait() -> None:
        tell(f"waiting for another command, which makes or loads {path}")

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
    """Yield the folder with the export of a run's checkpoint, which is there, and stays as it is, during the block.

    It is made, and `tell` is told, where there is none or one of other weights, another tokenizer or fewer positions. A
    run that cannot be written is exported to a temporary folder. Raises NmtError as `export` does.
    """
    info, folder, positions = find_checkpoint(run_dir, checkpoint), export_folder(run_dir), positions_for(config)

    def is_current() -> bool:
        try:
            record = ExportRecord.read(folder)
        except NmtError:
            return False
        return record.positions >= positions and record == ExportRecord.of(info, tokenizer, record.positions)

    def make(place: Path, why_there: str = "") -> None:
        tell(f"exporting {info.name} for CTranslate2 to {place}{why_there}")
        from nmt.inference.export.ctranslate2 import write
        from nmt.runs.run import load_run

        write(load_run(run_dir, info.name), place)

    try:
        _check_writable(folder)
    except NmtError:
        if is_current():
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="nmt-") as temporary:
            place = Path(temporary) / "ctranslate2"
            make(place, f", since {folder} cannot be written")
            yield place
        return
    with exclusively(folder, tell):
        if not is_current():
            make(place_of_export(run_dir))
        yield folder


def _check_writable(path: Path) -> None:
    check_writable(path, folder=True)
    check_writable(follow(path).parent, folder=True)  # an export is made beside the one that it replaces
