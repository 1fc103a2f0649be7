"""Reading the lines of the input in blocks, checking each line, and formatting the output line that belongs to it."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Literal, NamedTuple

from nmt.data import long_lines
from nmt.data.characters import as_line, find_foreign, name_of
from nmt.data.compression import is_compressed
from nmt.errors import NmtError

OnError = Literal["stop", "skip", "replace"]

_GRACE = 0.01  # seconds to wait for more lines from a pipe before those that arrived are translated
_CHUNK = 1 << 16  # bytes: the capacity of a pipe


class Line(NamedTuple):
    """A line of the input: the text to translate, and the whole line as it was read."""

    text: str
    raw: bytes  # with the end of line


@dataclass
class LineReader:
    """A reader of UTF-8 lines, or of one column of tab-separated values, that also handles broken lines.

    Only a line feed ends a line, and a carriage return before it is part of the line's end. A byte order mark at the
    beginning of the file is dropped. A line is broken if it is not valid UTF-8 or has a control character
    (nmt.data.characters). For a broken line, on_error="stop" raises NmtError, "skip" treats the line as empty, and
    "replace" puts U+FFFD in place of invalid bytes and spaces in place of control characters. A line that is too long
    to be read whole (nmt.data.long_lines) is broken too: "skip" and "replace" treat it as empty. In tab-separated
    values it always raises NmtError, since its row would be lost.
    """

    name: str  # name of the input in messages
    on_error: OnError = "stop"
    column: int | None = None  # column to translate, counted from 1; None: the whole line
    broken: int = 0  # number of lines skipped or repaired
    first_broken: list[int] = field(default_factory=list)  # line numbers of the first ten broken lines

    def blocks(self, file: IO[bytes], size: int) -> Iterator[list[Line]]:
        """Yield the lines of a file in blocks of at most `size`.

        If a line raises NmtError, the lines before it are yielded first.
        """
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
        """Return line `number`, checked and decoded, given its bytes with the end of line.

        Raises NmtError if the column is missing, or if the line is broken and on_error is "stop".
        """
        if long_lines.is_too_long(raw):
            return self._too_long(number)
        cell, place = _without_end(raw), 0
        if self.column is not None:
            cells = cell.split(b"\t", self.column)
            if len(cells) < self.column:
                raise NmtError(
                    f"{self.name}, line {number} has no column {self.column} (tab-separated columns found: "
                    f"{len(cells)}): fix the line, or choose another column"
                )
            cell = cells[self.column - 1]
            place = sum(len(before) + 1 for before in cells[: self.column - 1])
        text, problem = _decode(cell, place)
        if problem is not None:
            if self.on_error == "stop":
                raise NmtError(
                    f"{self.name}, line {number} {problem}: fix it, or add --on-error skip or --on-error replace"
                )
            self._count(number)
            text = text if self.on_error == "replace" else ""
        return Line(text.removeprefix("\ufeff") if number == 1 else text, raw)

    def _too_long(self, number: int) -> Line:
        """Return an empty line for one that is too long to be read whole; NmtError if it may not be skipped."""
        refusal = long_lines.refusal(f"{self.name}, line {number}")
        if self.column is not None:
            raise NmtError(refusal)
        if self.on_error == "stop":
            raise NmtError(f"{refusal}, or add --on-error skip")
        self._count(number)
        return Line("", b"")

    def _count(self, number: int) -> None:
        self.broken += 1
        if self.broken <= 10:
            self.first_broken.append(number)

    def answer(self, line: Line, answer: bytes) -> bytes:
        """Return the output for an input line: the answer, or the input row with the answer as a new last column.

        A line feed in the answer, which byte tokens can spell, becomes a space, so that output line i always belongs
        to input line i.
        """
        answer = answer.replace(b"\n", b" ")
        if self.column is None:
            return answer + b"\n"
        row = _without_end(line.raw)
        return row + b"\t" + answer.replace(b"\t", b" ") + (line.raw[len(row) :] or b"\n")

    def report(self) -> str | None:
        """Return a warning about the broken lines, or None if there were none."""
        if not self.broken:
            return None
        lines, were = ("line", "was") if self.broken == 1 else ("lines", "were")
        numbers = ", ".join(map(str, self.first_broken)) + (", ..." if self.broken > 10 else "")
        treatment = "treated as empty" if self.on_error == "skip" else "repaired with spaces and U+FFFD, or emptied"
        return (
            f"{self.name}: {self.broken:,} {lines} with control characters, broken UTF-8 or over "
            f"{long_lines.LONGEST_LINE:,} characters {were} {treatment} (--on-error {self.on_error}): {lines} {numbers}"
        )


def raw_blocks(file: IO[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield the lines of a file, with their ends of line, in blocks of at most `size`.

    Of a very long line, only the beginning is kept. From a pipe or a terminal, a block has the lines that have arrived:
    after the first line, more lines are only waited for very briefly, so that someone who types a line gets its
    translation at once.
    """
    descriptor = _stream(file)
    if descriptor is not None:
        yield from _arriving(descriptor, size)
        return
    lines = long_lines.raw_lines(file)
    while block := list(islice(lines, size)):
        yield block


def _arriving(descriptor: int, size: int) -> Iterator[list[bytes]]:
    """Yield the lines that arrive through a pipe or a terminal, in blocks of at most `size`."""
    block: list[bytes] = []
    unfinished: list[bytes] = []  # chunks of the last line, whose end has not arrived yet
    room = long_lines.most_bytes()  # bytes of that line that are still kept
    while chunk := os.read(descriptor, _CHUNK):
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            block.append(b"".join([*unfinished, line, b"\n"]))
            unfinished, room = [], long_lines.most_bytes()
        if room > 0:
            unfinished.append(rest)
            room -= len(rest)
        while len(block) >= size or (block and not select.select([descriptor], [], [], _GRACE)[0]):
            yield block[:size]
            block = block[size:]
    block += filter(None, [b"".join(unfinished)])
    while block:
        yield block[:size]
        block = block[size:]


def _stream(file: IO[bytes]) -> int | None:
    """Return the file descriptor of a pipe or a terminal, or None for a regular, compressed or in-memory file."""
    if is_compressed(file):
        return None
    try:
        descriptor = file.fileno()
    except OSError:  # an object such as BytesIO, which has no descriptor
        return None
    return None if stat.S_ISREG(os.fstat(descriptor).st_mode) else descriptor


def _without_end(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def _decode(cell: bytes, place: int) -> tuple[str, str | None]:
    """Return the decoded text, with invalid bytes and control characters replaced, and the first problem or None.

    `place` is the number of bytes in the line before the cell.
    """
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
