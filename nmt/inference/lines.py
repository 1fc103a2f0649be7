"""Lines as they come: read in blocks, checked, and their answers put where they belong."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Literal, NamedTuple

from nmt.data.characters import as_line, find_foreign, name_of
from nmt.data.compression import is_compressed
from nmt.errors import NmtError

OnError = Literal["stop", "skip", "replace"]

_GRACE = 0.01  # seconds that a pipe gets to deliver more before what it delivered is answered
_CHUNK = 1 << 16  # bytes: what a pipe holds


class Line(NamedTuple):
    """A line of the input: what is translated of it, and all of it as it stands there."""

    text: str
    raw: bytes


@dataclass
class LineReader:
    """Reads lines of UTF-8, or one column of tab-separated values, and decides what becomes of those that are broken.

    Only a line feed ends a line; a carriage return before it belongs to the end, and a byte order mark at the beginning
    is no text. Broken is a line that is not UTF-8 or that holds a character that no line of text has
    (nmt.data.characters). on_error: stop raises NmtError, skip takes the line for empty, replace puts U+FFFD for broken
    bytes and spaces for such characters.
    """

    name: str  # of the input, in sentences
    on_error: OnError = "stop"
    column: int | None = None  # of tab-separated values, from 1: what is translated
    broken: int = 0  # lines skipped or repaired
    first_broken: list[int] = field(default_factory=list)  # the numbers of the first ten

    def blocks(self, file: IO[bytes], size: int) -> Iterator[list[Line]]:
        """The lines of a file, at most `size` at a time; at an NmtError, what came before it is given out first."""
        number = 0
        for raws in raw_blocks(file, size):
            block: list[Line] = []
            for raw in raws:
                number += 1
                try:
                    block.append(self.line(raw, number))
                except NmtError:
                    if block:
                        yield block
                    raise
            yield block

    def line(self, raw: bytes, number: int) -> Line:
        """What is translated of line `number`, given with its end. Raises NmtError, with one sentence."""
        cell, place = _without_end(raw), 0
        if self.column is not None:
            cells = cell.split(b"\t", self.column)
            if len(cells) < self.column:
                raise NmtError(
                    f"{self.name}, line {number} has no column {self.column} but {len(cells)}, separated by tabs: "
                    "mend the line, or choose another column"
                )
            cell = cells[self.column - 1]
            place = sum(len(before) + 1 for before in cells[: self.column - 1])
        text, problem = _decode(cell, place)
        if problem is not None:
            if self.on_error == "stop":
                raise NmtError(
                    f"{self.name}, line {number} {problem}: mend it, or add --on-error skip or --on-error replace"
                )
            self.broken += 1
            if self.broken <= 10:
                self.first_broken.append(number)
            text = text if self.on_error == "replace" else ""
        return Line(text.removeprefix("\ufeff") if number == 1 else text, raw)

    def answer(self, line: Line, answer: bytes) -> bytes:
        """Return the line of output with its end: the answer, or the row as it came with the answer as one more column.

        A line feed in an answer, which tokens of single bytes can spell, becomes a space: line i answers line i.
        """
        answer = answer.replace(b"\n", b" ")
        if self.column is None:
            return answer + b"\n"
        row = _without_end(line.raw)
        return row + b"\t" + answer.replace(b"\t", b" ") + (line.raw[len(row) :] or b"\n")

    def report(self) -> str | None:
        """A sentence about the lines that were broken; None where there was none."""
        if not self.broken:
            return None
        lines, were = ("line", "was") if self.broken == 1 else ("lines", "were")
        numbers = ", ".join(map(str, self.first_broken)) + (", ..." if self.broken > 10 else "")
        fate = "as empty" if self.on_error == "skip" else "with spaces and U+FFFD instead"
        return (
            f"{self.name}: {self.broken:,} {lines} with control characters or broken UTF-8 {were} taken {fate} "
            f"(--on-error {self.on_error}): {lines} {numbers}"
        )


def raw_blocks(file: IO[bytes], size: int) -> Iterator[list[bytes]]:
    """The lines of a file with their ends, at most `size` at a time.

    Of a pipe or a terminal those that are there: it waits for the first and hardly for more.
    """
    descriptor = _stream(file)
    if descriptor is not None:
        yield from _arriving(descriptor, size)
        return
    while block := list(islice(file, size)):
        yield block


def _arriving(descriptor: int, size: int) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    unfinished: list[bytes] = []  # the last line, in chunks
    while chunk := os.read(descriptor, _CHUNK):
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            block.append(b"".join([*unfinished, line, b"\n"]))
            unfinished = []
        unfinished.append(rest)
        while len(block) >= size or (block and not select.select([descriptor], [], [], _GRACE)[0]):
            yield block[:size]
            block = block[size:]
    block += filter(None, [b"".join(unfinished)])
    while block:
        yield block[:size]
        block = block[size:]


def _stream(file: IO[bytes]) -> int | None:
    """The descriptor of a pipe or a terminal; None for what is there as a whole."""
    if is_compressed(file):
        return None
    try:
        descriptor = file.fileno()
    except OSError:  # not of the operating system
        return None
    return None if stat.S_ISREG(os.fstat(descriptor).st_mode) else descriptor


def _without_end(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def _decode(cell: bytes, place: int) -> tuple[str, str | None]:
    """The text with whatever is broken replaced, and what was broken first; `place` is where in its line it begins."""
    problem = None
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError as error:
        text = cell.decode("utf-8", errors="replace")
        problem = f"is not valid UTF-8 ({error.reason} at byte {place + error.start + 1} of the line)"
    if found := find_foreign(text):
        byte = place + len(text[: found.start()].encode()) + 1
        problem = problem or f"holds U+{ord(found[0]):04X} ({name_of(found[0])}) at byte {byte} of the line"
        text = as_line(text)
    return text, problem
