"""Names of half-written files and folders, and the removal of those whose process is dead."""

from __future__ import annotations

import os
import re
import shutil
import socket
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"  # several machines may write to one file system
# earlier versions wrote no host, or eight characters instead of the process id
_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?:(?:(?P<host>[0-9a-f]{8})-)?(?P<process>[0-9]+)|[a-z0-9_]{8})\.partial")


def partial_of(place: Path) -> Path:
    """Return the path, next to `place`, at which this process writes what will become `place`."""
    return place.with_name(f".{place.name}.{_HOST}-{os.getpid()}.partial")


def delete_leftovers(folder: Path, belongs: Callable[[str], bool]) -> None:
    """Delete what killed processes of this machine have left half written in a folder.

    `belongs` is called with the name of the file or folder that was being written, and returns whether to delete it.
    What a living process or another machine writes is left alone.
    """
    for path in folder.glob(".*.partial"):
        partial = _PARTIAL.fullmatch(path.name)
        if partial is None or not belongs(partial["name"]) or partial["host"] not in (None, _HOST):
            continue
        if partial["process"] is None or not _lives(int(partial["process"])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lives(process: int) -> bool:
    """Return whether a process of this machine is running."""
    with suppress(PermissionError):  # it is another user's
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
