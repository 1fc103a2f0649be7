"""Checksums of complete folders: a file that tells later whether a single bit of the others has changed.

checksums.json holds the BLAKE2b digest of each file that a checkpoint, a tokenizer, an export or a prepared store
consists of. It is written last and checked when the folder is loaded. Folders of earlier versions have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import IO

from nmt.errors import Damaged
from nmt.files import atomic_write
from nmt.reading import opened, read_object

CHECKSUMS = "checksums.json"


def digest(content: Path | bytes) -> str:
    """Return the BLAKE2b digest of a file or of bytes, with the errors of `opened` for a file."""
    if isinstance(content, bytes):
        return blake2b(content, digest_size=16).hexdigest()
    with opened(content) as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def write_checksums(folder: Path, contents: Mapping[str, Path | bytes]) -> None:
    """Write the checksums of files of a folder, given their contents by name."""
    _write(folder, {name: [digest(content)] for name, content in sorted(contents.items())})


def seal(folder: Path) -> None:
    """Write the checksums of all files of a folder that is complete."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS]
    write_checksums(folder, {path.name: path for path in files})


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for the new content of `path`, which takes its place when the block ends without an error.

    The checksums of its folder allow the old and the new content in between, so that a reader, or the next start after
    a crash, never takes either for damage.
    """
    digests = _read(path.parent / CHECKSUMS)
    with atomic_write(path, "wb") as file:
        yield file
        file.flush()
        new = digest(Path(file.name))
        if digests is not None:
            _write(path.parent, digests | {path.name: [*digests.get(path.name, []), new]})
    if digests is not None:
        _write(path.parent, digests | {path.name: [new]})


def has_checksums(folder: Path) -> bool:
    """Return whether a folder has checksums; those of earlier versions have none."""
    return (folder / CHECKSUMS).exists()


def verify(folder: Path, names: Iterable[str] | None = None) -> bool:
    """Check files of a folder, by default all, against its checksums; return False if it has none.

    Raises Damaged, naming the file, if one is missing or its content is not what was written.
    """
    expected = _read(folder / CHECKSUMS)
    if expected is None:
        return False
    for name in expected if names is None else names:
        path = folder / name
        if not path.is_file():
            raise Damaged(f"{path} is missing")
        if digest(path) not in expected.get(name, ()):
            raise Damaged(f"{path} is damaged: its content is not what was written (the checksum differs)")
    return True


def unlisted(folder: Path) -> list[str]:
    """Return the names of what is in a folder that has checksums, but not in these; none for a folder without any."""
    try:
        expected = _read(folder / CHECKSUMS)
    except Damaged:
        expected = None
    if expected is None:
        return []
    parts = {Path(name).parts[0] for name in expected} | {CHECKSUMS}
    return sorted(path.name for path in folder.iterdir() if path.name not in parts)


def _write(folder: Path, digests: Mapping[str, list[str]]) -> None:
    """Write the digests that each file may have: one, or two while the file is being replaced."""
    with atomic_write(folder / CHECKSUMS) as file:
        json.dump(digests, file, indent=1)


def _read(path: Path) -> dict[str, list[str]] | None:
    """Return the digests by file name; None without a file of checksums."""
    if not path.exists() and not path.is_symlink():
        return None
    found = read_object(path)
    if not all(isinstance(digests, list) for digests in found.values()):
        raise Damaged(f"{path} is damaged: it does not list digests by file name")
    return found
