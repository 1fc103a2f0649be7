"""Reading and writing of text files, which are compressed if their name ends in .gz or .xz.

Text is UTF-8. A line ends with a line feed, optionally after a carriage return.
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

from nmt.data import long_lines
from nmt.data.extent import Extent
from nmt.errors import NmtError, unreadable
from nmt.files import open_output

SUFFIXES = ("", ".gz", ".xz")
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)  # exceptions raised by reading a damaged file


def existing(path: Path) -> Path | None:
    """Return `path` or its compressed form, whichever exists, or None."""
    candidates = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes without decompression; raises NmtError if it cannot be opened."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NmtError(f"{path} is missing") from error
    except OSError as error:
        raise unreadable(path, error) from error


def decompressed(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a file object that decompresses the open `file` if the name of `path` ends in .gz or .xz."""
    match path.suffix:
        case ".gz":
            return cast(BinaryIO, gzip.open(file, "rb"))
        case ".xz":
            return cast(BinaryIO, lzma.open(file, "rb"))
    return file


def damaged(path: Path, error: BaseException) -> NmtError:
    """Return the error to raise for a damaged file, which cannot be read to its end."""
    return NmtError(f"{path} could not be read to its end, it is damaged: {error}")


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a text file for reading its decompressed bytes; raises NmtError if it is missing or damaged."""
    path = Path(path)
    with open_file(path) as raw, decompressed(path, raw) as file:
        try:
            yield file
        except DAMAGE as error:
            raise damaged(path, error) from error


def lines(path: Path, extent: Extent | None = None, cut: bool = False) -> Iterator[str]:
    """Yield the lines of a text file without their line ends, and record in `extent` how much has been read.

    A byte order mark at the start is skipped. Raises NmtError if the file is missing, damaged or not UTF-8, and for a
    line of more than LONGEST_LINE characters. With `cut`, the beginning of such a line is yielded instead, which has
    more than LONGEST_LINE characters too; broken bytes in it become U+FFFD.
    """
    with open_file(path) as raw, decompressed(path, raw) as file:
        if extent is not None:
            extent.watch(raw)
        try:
            for number, line in enumerate(long_lines.raw_lines(file), start=1):
                if len(line) > long_lines.LONGEST_LINE and long_lines.is_too_long(line):
                    if not cut:
                        raise NmtError(long_lines.refusal(f"{path}, line {number}"))
                    yield line.decode(errors="replace")
                    continue
                try:
                    text = line.rstrip(b"\r\n").decode()
                except UnicodeDecodeError as error:
                    raise NmtError(
                        f"{path}, line {number}: byte {error.start + 1} of the line is not valid UTF-8: "
                        "convert the file to UTF-8"
                    ) from error
                yield text if number > 1 else text.removeprefix("\ufeff")
        except DAMAGE as error:
            raise damaged(path, error) from error
        except OSError as error:
            raise unreadable(path, error) from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a text file as a list."""
    return list(lines(Path(path)))


@contextmanager
def writing(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a text file for writing bytes, compressed if its name ends in .gz or .xz.

    The file appears complete or not at all (`open_output`; `temporary` is passed to it). The same text always gives
    the same file, because no time and no name are stored in a .gz file.
    """
    with open_output(path, temporary) as raw:
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
    """Open a text file for writing str, encoded as UTF-8 and compressed if the file name ends in .gz or .xz.

    The file appears complete or not at all.
    """
    with writing(path) as file:
        text = io.TextIOWrapper(cast(BinaryIO, file), encoding="utf-8", newline="\n")
        yield text
        text.flush()
        text.detach()


def is_compressed(file: IO[bytes]) -> bool:
    """Return whether an open file compresses the data written to it, or decompresses the data read from it."""
    return isinstance(file, gzip.GzipFile | lzma.LZMAFile)
