"""A large file's work in shards: each written whole or not at all, in any order, by any process, joined once all are.

OUTPUT.parts/job.json          what the shards belong to, and a checksum of that
OUTPUT.parts/shard-0000012     a line with count and checksum, then the answers to a run of lines
OUTPUT.parts/taken-0000012     some process is at it, or has done it
"""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import IO, Any

from nmt.data.compression import reading, writing
from nmt.errors import NmtError
from nmt.files import atomic_write, follow, kept_if_filled, locked

LINES = 2000  # of a shard, at most
GRID = 100  # a shard has a multiple of so many
_PER_PROCESS = 4  # shards, so that processes end at about the same time


@dataclass(frozen=True)
class SourceFile:
    """A file of lines, read through once; where it is compressed, offsets are those of its text."""

    path: Path
    digest: str
    lines: int
    offsets: array[int]  # bytes before every GRID-th line
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Shards:
    """The shards of a source, and the folder where their answers are kept; every process has one."""

    folder: Path
    source: Path
    lines: int  # of the source
    size: int  # lines of a shard; the last one may have fewer
    starts: list[int]  # the byte where each shard begins
    stamp: tuple[int, int]  # of the source
    job: str  # checksum of what the shards belong to

    def finished(self) -> set[int]:
        """The shards whose answers are there."""
        return _numbers(self.folder, "shard")

    def finished_lines(self) -> int:
        """How many lines have answers."""
        return sum(map(self.lines_of, self.finished()))

    def lines_of(self, index: int) -> int:
        """Return how many lines a shard has."""
        return min(self.size, self.lines - index * self.size)

    def unfinished(self) -> list[int]:
        """The shards whose answers are still to come, in order."""
        return sorted(set(range(len(self.starts))) - self.finished())

    def take(self, index: int) -> bool:
        """Take a shard over, unless another process has."""
        try:
            os.close(os.open(_path(self.folder, "taken", index), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def release(self) -> None:
        """Let what was taken be taken again. A process that is at it all the same finds the same answers."""
        _delete(self.folder, "taken")

    def read(self, file: IO[bytes], index: int) -> list[bytes]:
        """The lines of a shard, with their ends, from the opened source."""
        file.seek(self.starts[index])
        return list(islice(file, self.size))

    def write(self, index: int, answers: Iterable[bytes]) -> None:
        """Keep the answers to a shard, a line for each of its lines. Raises NmtError where the source has lost some."""
        content = b"".join(answers)
        if content.count(b"\n") != self.lines_of(index):
            raise self._changed()
        with atomic_write(_path(self.folder, "shard", index), "wb") as file:
            file.write(self._header(index, content))
            file.write(content)

    def drop_damaged(self, say: Callable[[str], None]) -> None:
        """Delete the shards that are not as they were written, so that they are done again."""
        for index in sorted(self.finished()):
            if self._answers(index) is None:
                path = _path(self.folder, "shard", index)
                path.unlink()
                say(f"{path} is damaged: its lines are translated again")

    def join(self, output: Path) -> None:
        """Make the output of the shards, all of which are finished, compressed as its name tells.

        Raises NmtError, with the output as it was, where the source was changed or a shard is damaged.
        """
        if _stamp(self.source) != self.stamp:
            raise self._changed()
        joined = 0
        with writing(output, temporary=self.folder / "joined") as file:
            for index in range(len(self.starts)):
                answers = self._answers(index)
                if answers is None:
                    raise NmtError(
                        f"{_path(self.folder, 'shard', index)} was damaged after it was written: the same command "
                        "with --resume translates its lines again"
                    )
                file.write(answers)
                joined += answers.count(b"\n")
            if joined != self.lines:
                raise NmtError(f"{self.source} has {self.lines:,} lines but {joined:,} answers: delete {self.folder}")
        _delete(self.folder, "shard")

    def _answers(self, index: int) -> bytes | None:
        """Return the lines of a finished shard; None where they are not what was written there for this job."""
        if index >= len(self.starts):
            return None
        try:
            with _path(self.folder, "shard", index).open("rb") as file:
                header, content = file.readline(), file.read()
        except FileNotFoundError:
            return None
        return content if header == self._header(index, content) else None

    def _header(self, index: int, content: bytes) -> bytes:
        """Return the first line of a shard's file: the number of its lines, and a checksum of job, place and lines."""
        checksum = blake2b(f"{self.job} {index}\n".encode() + content, digest_size=16).hexdigest()
        return f"{self.lines_of(index)} lines, blake2b {checksum}\n".encode()

    def _changed(self) -> NmtError:
        return NmtError(f"{self.source} was changed while it was translated: delete {self.folder} and begin anew")


def read_source(path: str | os.PathLike[str], check: Callable[[bytes, int], object]) -> SourceFile:
    """Read a file through; `check` is given every line, with its end, and its number, and may raise NmtError."""
    offsets, digest, lines, place = array("q"), blake2b(digest_size=16), 0, 0
    path = Path(path)
    stamp = _stamp(path)
    with reading(path) as file:
        for raw in file:
            if lines % GRID == 0:
                offsets.append(place)
            lines += 1
            place += len(raw)
            digest.update(raw)
            check(raw, lines)
    return SourceFile(path, digest.hexdigest(), lines, offsets, stamp)


@contextmanager
def open_shards(
    output: Path, source: SourceFile, belongings: Mapping[str, Any], resume: bool, processes: int = 1
) -> Iterator[Shards]:
    """The shards of `source` for `output`, of which this process alone disposes during the block.

    belongings, which JSON can hold, are what answers depend on besides the source. Raises NmtError where finished
    shards are there and resume is False, or they belong to something else, and where another process is at them. A
    folder without finished shards is deleted in the end.
    """
    place = follow(output)  # which has room, where a link leads there
    folder = place.parent / f"{place.name}.parts"
    busy = f"another process is at {folder}: wait for it, or choose another output"
    with kept_if_filled(folder), locked(folder / ".lock", busy):
        try:
            job = {"source": source.digest, **belongings}
            size, checksum = _begin(folder, job, resume, _shard_size(source.lines, processes))
            starts = source.offsets[:: size // GRID].tolist()
            yield Shards(folder, source.path, source.lines, size, starts, source.stamp, checksum)
        finally:
            if not _numbers(folder, "shard"):
                shutil.rmtree(folder, ignore_errors=True)


def _begin(folder: Path, job: Mapping[str, Any], resume: bool, size: int) -> tuple[int, str]:
    """Prepare the folder for a job; the lines of a shard, `size` unless there are finished ones, and job's checksum."""
    record: dict[str, Any] = {"lines_of_a_shard": size, "job": job}
    if _numbers(folder, "shard"):
        record = _resumed(folder, job, resume)
    checksum = _checksum(record)
    with atomic_write(folder / "job.json") as file:
        json.dump({**record, "checksum": checksum}, file, indent=1)
    _delete(folder, "taken")
    _delete(folder, ".shard")  # half written
    return int(record["lines_of_a_shard"]), checksum


def _resumed(folder: Path, job: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """What job.json says about the shards that are there, which must be those of this job."""
    if not resume:
        raise NmtError(
            f"{folder} holds a part of an earlier translation: add --resume to go on with it, or delete the folder"
        )
    try:
        record: dict[str, Any] = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        if record.pop("checksum") != _checksum(record):
            raise ValueError("it was changed")
        before = dict(record["job"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NmtError(
            f"{folder / 'job.json'} is missing or damaged, or was changed, so that it does not tell what the shards "
            "beside it belong to: delete the folder and begin anew"
        ) from error
    others = [name for name in {**before, **job} if before.get(name) != job.get(name)]
    if others:
        raise NmtError(
            f"{folder} holds a part of another translation, with another {' and another '.join(others)}: "
            "call it as before, or delete the folder"
        )
    return record


def _checksum(record: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _shard_size(lines: int, processes: int) -> int:
    """A whole block for one process; less where that would leave some of several without work."""
    if processes == 1:
        return LINES
    grids = -(-lines // (GRID * processes * _PER_PROCESS))
    return min(LINES, GRID * max(1, grids))


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _path(folder: Path, kind: str, index: int) -> Path:
    return folder / f"{kind}-{index:07}"


def _numbers(folder: Path, kind: str) -> set[int]:
    return {int(path.name.removeprefix(f"{kind}-")) for path in folder.glob(f"{kind}-*")}


def _delete(folder: Path, kind: str) -> None:
    for path in folder.glob(f"{kind}-*"):
        with suppress(FileNotFoundError):
            path.unlink()
