"""Files of text, plain or compressed, as their names tell: .gz and .xz are compressed.

Text is UTF-8, its lines ended by a line feed alone or after a carriage return.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from nmt.data.extent import Extent
from nmt.errors import NmtError
from nmt.files import atomic_write

SUFFIXES = ("", ".gz", ".xz")
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)  # what reading a damaged file raises


def existing(path: Path) -> Path | None:
    """Return `path`, or its compressed form, whichever is there."""
    candidates = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes as they are; NmtError for one that is missing or may not be read."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NmtError(f"{path} is missing") from error
    except OSError as error:
        raise NmtError(f"{path} could not be read: {error.strerror or error}") from error


def decompressed(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a file that reads an open one, decompressed where the name of that, `path`, ends in .gz or .xz."""
    match path.suffix:
        case ".gz":
            return cast(BinaryIO, gzip.open(file, "rb"))
        case ".xz":
            return cast(BinaryIO, lzma.open(file, "rb"))
    return file


def damaged(path: Path, error: BaseException) -> NmtError:
    """Return what to raise for a file that cannot be read to its end."""
    return NmtError(f"{path} could not be read to its end, it is damaged: {error}")


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a text for reading its bytes, decompressed. Raises NmtError where it is missing or damaged."""
    path = Path(path)
    with open_file(path) as raw, decompressed(path, raw) as file:
        try:
            yield file
        except DAMAGE as error:
            raise damaged(path, error) from error


def lines(path: Path, extent: Extent | None = None) -> Iterator[str]:
    """Yield the lines of a text without their ends, and keep `extent` up to date.

    A byte order mark at the start is not text. Raises NmtError where the file is missing, damaged or not UTF-8.
    """
    with open_file(path) as raw, decompressed(path, raw) as file:
        if extent is not None:
            extent.watch(raw)
        try:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise NmtError(
                        f"{path}, line {number}: byte {error.start + 1} of the line is not valid UTF-8: "
                        "convert the file to UTF-8"
                    ) from error
                yield text
        except (OSError, *DAMAGE) as error:
            raise damaged(path, error) from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a text, as `lines` yields them."""
    return list(lines(Path(path)))


@contextmanager
def writing(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a text for writing its bytes, which are compressed as its name tells; complete or absent, by `atomic_write`.

    The same text makes the same file: no time and no name are kept in it.
    """
    with atomic_write(path, "wb", temporary) as raw:
        match Path(path).suffix:
            case ".gz":
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                    yield cast(IO[bytes], file)
            case ".xz":
                with lzma.open(raw, "wb") as file:
                    yield cast(IO[bytes], file)
            case _:
                yield raw


@contextmanager
def writing_text(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """Open a text for writing, in UTF-8; otherwise as `writing`."""
    with writing(path) as file:
        text = io.TextIOWrapper(cast(BinaryIO, file), encoding="utf-8", newline="\n")
        yield text
        text.flush()
        text.detach()


def is_compressed(file: IO[bytes]) -> bool:
    """Return whether an open file compresses what is written to it, or decompresses what is read from it."""
    return isinstance(file, gzip.GzipFile | lzma.LZMAFile)
