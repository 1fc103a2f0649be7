"""A large file's work in shards: each written whole or not at all, in any order, by any process, joined once all are.

OUTPUT.parts/job.json          what the shards belong to
OUTPUT.parts/shard-0000012     the answers to a run of lines
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

from nmt.errors import NmtError
from nmt.files import atomic_write, locked, make_folder

LINES = 2000  # of a shard, at most
GRID = 100  # a shard has a multiple of so many
_PER_PROCESS = 4  # shards, so that processes end at about the same time


@dataclass(frozen=True)
class Source:
    """A file of lines, read through once."""

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

    def finished(self) -> set[int]:
        """The shards whose answers are there."""
        return _numbers(self.folder, "shard")

    def finished_lines(self) -> int:
        """How many lines have answers."""
        return sum(min(self.size, self.lines - index * self.size) for index in self.finished())

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
        """Keep the answers to a shard."""
        with atomic_write(_path(self.folder, "shard", index), "wb") as file:
            file.writelines(answers)

    def join(self, output: Path) -> None:
        """Make the output of the shards, all of which are finished. Raises NmtError where the source was changed."""
        if _stamp(self.source) != self.stamp:
            raise NmtError(f"{self.source} was changed while it was translated: delete {self.folder} and begin anew")
        joined = self.folder / "joined"
        try:
            with joined.open("wb") as file:
                for index in range(len(self.starts)):
                    with _path(self.folder, "shard", index).open("rb") as shard:
                        shutil.copyfileobj(shard, file)
                file.flush()
                os.fsync(file.fileno())
            joined.replace(output)
        except OSError as error:
            raise NmtError(f"{output} could not be written: {error.strerror or error}") from error
        _delete(self.folder, "shard")


def read_source(path: str | os.PathLike[str], check: Callable[[bytes, int], object]) -> Source:
    """Read a file through; `check` is given every line, with its end, and its number, and may raise NmtError."""
    offsets, digest, lines, place = array("q"), blake2b(digest_size=16), 0, 0
    path = Path(path)
    stamp = _stamp(path)
    with path.open("rb") as file:
        for raw in file:
            if lines % GRID == 0:
                offsets.append(place)
            lines += 1
            place += len(raw)
            digest.update(raw)
            check(raw, lines)
    return Source(path, digest.hexdigest(), lines, offsets, stamp)


@contextmanager
def open_shards(
    output: Path, source: Source, belongings: Mapping[str, Any], resume: bool, processes: int = 1
) -> Iterator[Shards]:
    """The shards of `source` for `output`, of which this process alone disposes during the block.

    belongings, which JSON can hold, are what answers depend on besides the source. Raises NmtError where finished
    shards are there and resume is False, or they belong to something else, and where another process is at them. A
    folder without finished shards is deleted in the end.
    """
    folder = make_folder(output.parent) / f"{output.name}.parts"
    make_folder(folder)
    with locked(folder / ".lock", f"another process is at {folder}: wait for it, or choose another output"):
        try:
            size = _begin(folder, {"source": source.digest, **belongings}, resume, _shard_size(source.lines, processes))
            starts = source.offsets[:: size // GRID].tolist()
            yield Shards(folder, source.path, source.lines, size, starts, source.stamp)
        finally:
            if not _numbers(folder, "shard"):
                shutil.rmtree(folder, ignore_errors=True)


def _begin(folder: Path, job: Mapping[str, Any], resume: bool, size: int) -> int:
    """Prepare the folder for a job; the lines of a shard, which are `size` unless there are finished ones."""
    if _numbers(folder, "shard"):
        size = _resumed(folder, job, resume)
    else:
        with atomic_write(folder / "job.json") as file:
            json.dump({"lines_of_a_shard": size, "job": job}, file, indent=1)
    _delete(folder, "taken")
    _delete(folder, ".shard")  # half written
    return size


def _resumed(folder: Path, job: Mapping[str, Any], resume: bool) -> int:
    """The size of the shards that are there, which must be those of this job."""
    if not resume:
        raise NmtError(
            f"{folder} holds a part of an earlier translation: add --resume to go on with it, or delete the folder"
        )
    try:
        record = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        size, before = int(record["lines_of_a_shard"]), dict(record["job"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NmtError(f"{folder / 'job.json'} is missing or damaged: delete the folder and begin anew") from error
    others = [name for name in {**before, **job} if before.get(name) != job.get(name)]
    if others:
        raise NmtError(
            f"{folder} holds a part of another translation, with another {' and another '.join(others)}: "
            "call it as before, or delete the folder"
        )
    return size


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
