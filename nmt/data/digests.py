"""Hashes of the content of files, cached for large files so that a start does not have to read a whole corpus."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from nmt.errors import NmtError
from nmt.files import atomic_write

LARGE = 1 << 26  # bytes, which take some tenths of a second to hash
_SETTLED = 2 * 10**9  # nanoseconds since the last change after which any further change gets a different timestamp


class Digests:
    """A callable that hashes files, with a cache in a folder for large files; an entry is valid until its file changes.

    A change is recognised by size, times and inode.
    """

    def __init__(self, folder: Path) -> None:
        """Cache hashes in `folder`, which need not exist; if it cannot be written, nothing is cached."""
        self._path = folder / "digests.json"

    def __call__(self, path: Path, file: BinaryIO) -> bytes:
        """Return the hash of a file that is open at its start."""
        state = os.fstat(file.fileno())
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        settled = time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > _SETTLED
        if state.st_size < LARGE or not settled:
            return _hash(file)
        name = str(path.resolve())
        if (known := self._known(name, stamp)) is not None:
            return known
        found = _hash(file)
        with suppress(NmtError, OSError), atomic_write(self._path) as kept:
            json.dump(self._kept() | {name: {"stamp": stamp, "hash": found.hex()}}, kept, indent=1)
        return found

    def _known(self, name: str, stamp: list[int]) -> bytes | None:
        """Return the kept hash of a file; None if there is none, or if the file has changed since it was hashed."""
        match self._kept().get(name):
            case {"stamp": found, "hash": str(hashed)} if found == stamp:
                with suppress(ValueError):
                    return bytes.fromhex(hashed)
        return None

    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}


def _hash(file: BinaryIO) -> bytes:
    total = blake2b(digest_size=16)
    while block := file.read(1 << 20):
        total.update(block)
    return total.digest()
