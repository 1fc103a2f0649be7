"""Reading lines in bounded memory, however long a line is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import IO

from nmt.errors import unreadable

# The most characters of a line that is read whole. It is far over any real line, so that a longer one is surely no text
# (the dump of a disk, a file of another kind), and a few such lines still fit into little memory.
LONGEST_LINE = 1_000_000
_CHUNK = 1 << 20  # bytes skipped at a time


def raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; of a very long line only the beginning, which `is_too_long`.

    When a line is yielded, the file is at the beginning of the next one. Raises NmtError if the system cannot read on.
    """
    most = most_bytes()
    try:
        for line in iter(partial(file.readline, most), b""):
            if len(line) == most:
                _skip_rest(line, file)
            yield line
    except OSError as error:
        if error.errno is None:  # the file is compressed, and damaged
            raise
        raise unreadable(str(file.name).replace("<stdin>", "standard input"), error) from error


def most_bytes() -> int:
    """Return the number of bytes that are read of a line: more than LONGEST_LINE characters, of up to 4 bytes each."""
    return 4 * (LONGEST_LINE + 1)


def refusal(place: str) -> str:
    """Return the sentence about a line that is too long; `place` is its file and number."""
    return f"{place} has more than {LONGEST_LINE:,} characters, so it cannot be a sentence: fix the file"


def is_too_long(line: bytes) -> bool:
    """Return whether a line, or what was read of it, has more than LONGEST_LINE characters, counting broken bytes."""
    if len(line) <= LONGEST_LINE:
        return False
    return len(line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")) > LONGEST_LINE


def _skip_rest(line: bytes, file: IO[bytes]) -> None:
    """Read on to the end of a line, of which `line` is the beginning, or all."""
    while line and not line.endswith(b"\n"):
        line = file.readline(_CHUNK)
