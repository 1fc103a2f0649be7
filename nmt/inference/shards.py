"""Shards of a large file, so that its translation can be resumed and divided among processes.

Each shard is written completely or not at all, in any order and by any process. When all are there, they are joined.

OUTPUT.parts/job.json          the source and options that the shards belong to, with a checksum
OUTPUT.parts/shard-0000012     a header line (number of lines, checksum), then the translations of the shard's lines
OUTPUT.parts/taken-0000012     an empty file: some process is working on this shard, or has finished it
"""

from __future__ import annotations

import json
import os
import re
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
from nmt.data.long_lines import raw_lines
from nmt.errors import Damaged, NmtError
from nmt.files import atomic_write, follow, kept_if_filled, locked
from nmt.reading import read_object

LINES = 2000  # maximum number of lines in a shard
GRID = 100  # the number of lines in a shard is a multiple of this
_OWN = re.compile(r"job\.json|joined|(shard|taken)-\d+|\.lock|\..*\.partial")  # names of files in the folder
_PER_PROCESS = 4  # shards per process to aim for, so that all processes end at about the same time


@dataclass(frozen=True)
class SourceFile:
    """The facts about a source file that `read_source` gathers by reading it once."""

    path: Path
    digest: str  # BLAKE2b of the text
    lines: int  # number of lines
    offsets: array[int]  # bytes before every GRID-th line, in the decompressed text
    stamp: tuple[int, int]  # size and time of the last change


@dataclass(frozen=True)
class Shards:
    """The shards of a source file and the folder that holds their translations; each process has a copy."""

    folder: Path
    source: Path
    lines: int  # number of lines of the source
    size: int  # number of lines of a shard; the last shard may have fewer
    starts: list[int]  # byte of the source at which each shard begins
    stamp: tuple[int, int]  # size and time of the last change of the source
    job: str  # checksum of job.json

    def finished(self) -> set[int]:
        """Return the indices of the shards that have been written."""
        return _numbers(self.folder, "shard")

    def finished_lines(self) -> int:
        """Return the number of lines in the shards that have been written."""
        return sum(map(self.lines_of, self.finished()))

    def lines_of(self, index: int) -> int:
        """Return the number of lines of a shard."""
        return min(self.size, self.lines - index * self.size)

    def unfinished(self) -> list[int]:
        """Return the indices of the shards that have not been written yet, in ascending order."""
        return sorted(set(range(len(self.starts))) - self.finished())

    def take(self, index: int) -> bool:
        """Reserve a shard for this process; return False if another process has reserved it."""
        try:
            os.close(os.open(_path(self.folder, "taken", index), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def release(self) -> None:
        """Cancel all reservations, so that shards of failed processes can be taken again.

        If a shard is then translated twice, no harm is done, because both processes write the same translations.
        """
        _delete(self.folder, "taken")

    def read(self, file: IO[bytes], index: int) -> list[bytes]:
        """Read the lines of a shard, with their ends, from the opened source."""
        file.seek(self.starts[index])
        return list(islice(raw_lines(file), self.size))

    def write(self, index: int, answers: Iterable[bytes]) -> None:
        """Write the answers to a shard, one line for each of its lines.

        Raises NmtError if their number is wrong, because the source has become shorter.
        """
        content = b"".join(answers)
        if content.count(b"\n") != self.lines_of(index):
            raise self._changed()
        with atomic_write(_path(self.folder, "shard", index), "wb") as file:
            file.write(self._header(index, content))
            file.write(content)

    def drop_damaged(self, say: Callable[[str], None]) -> None:
        """Delete shards whose checksum is wrong, so that their lines are translated again; `say` reports each."""
        for index in sorted(self.finished()):
            if self._answers(index) is None:
                path = _path(self.folder, "shard", index)
                path.unlink()
                say(f"{path} is damaged: its lines are translated again")

    def join(self, output: Path) -> None:
        """Join all shards, which must be finished, to the output file, compressed if its name says so.

        Raises NmtError, and leaves the output as it was, if the source was changed or a shard is damaged.
        """
        if _stamp(self.source) != self.stamp:
            raise self._changed()
        joined = 0
        with writing(output, temporary=self.folder / "joined") as file:
            for index in range(len(self.starts)):
                answers = self._answers(index)
                if answers is None:
                    raise NmtError(
                        f"{_path(self.folder, 'shard', index)} was damaged after it was written: run the same command "
                        "with --resume to translate its lines again"
                    )
                file.write(answers)
                joined += answers.count(b"\n")
            if joined != self.lines:
                raise NmtError(
                    f"{self.source} has {self.lines:,} lines, but {self.folder} holds {joined:,} translations: delete "
                    "the folder and start again"
                )
        _delete(self.folder, "shard")

    def _answers(self, index: int) -> bytes | None:
        """Return the content of a finished shard without its header, or None if it is missing, damaged or not ours."""
        if index >= len(self.starts):
            return None
        try:
            with _path(self.folder, "shard", index).open("rb") as file:
                header, content = file.readline(), file.read()
        except FileNotFoundError:
            return None
        return content if header == self._header(index, content) else None

    def _header(self, index: int, content: bytes) -> bytes:
        """Return the header line of a shard: the number of lines, and a checksum of the job, the index and content."""
        checksum = blake2b(f"{self.job} {index}\n".encode() + content, digest_size=16).hexdigest()
        return f"{self.lines_of(index)} lines, blake2b {checksum}\n".encode()

    def _changed(self) -> NmtError:
        return NmtError(f"{self.source} was changed while it was translated: delete {self.folder} and start again")


def read_source(path: str | os.PathLike[str], check: Callable[[bytes, int], object]) -> SourceFile:
    """Read a file once, compute its digest and line offsets, and check every line.

    `check` is called with each line, with its end, and the line's number from 1; it may raise NmtError.
    """
    offsets, digest, lines, place = array("q"), blake2b(digest_size=16), 0, 0
    path = Path(path)
    stamp = _stamp(path)
    with reading(path) as file:
        for raw in raw_lines(file):
            if lines % GRID == 0:
                offsets.append(place)
            lines += 1
            digest.update(raw)
            check(raw, lines)
            if lines % GRID == 0:
                place = file.tell()
    return SourceFile(path, digest.hexdigest(), lines, offsets, stamp)


@contextmanager
def open_shards(
    output: Path, source: SourceFile, belongings: Mapping[str, Any], resume: bool, processes: int = 1
) -> Iterator[Shards]:
    """Open the shards of `source` for `output`, and lock their folder during the block.

    `belongings` is everything besides the source that the translations depend on, as values that JSON can hold. Raises
    NmtError if there are finished shards but resume is False, if these belong to another job, if the folder holds
    anything else, or if another process has the lock. A folder that ends up without finished shards is deleted.
    """
    place = follow(output)  # if the output is a link, the shards go to the disk it leads to, which has the room
    folder = place.parent / f"{place.name}.parts"
    _refuse_strangers(folder)
    busy = f"another process is working in {folder}: wait until it has finished, or choose another output"
    with kept_if_filled(folder), locked(folder / ".lock", busy):
        try:
            job = {"source": source.digest, **belongings}
            size, checksum = _begin(folder, job, resume, _shard_size(source.lines, processes))
            starts = source.offsets[:: size // GRID].tolist()
            yield Shards(folder, source.path, source.lines, size, starts, source.stamp, checksum)
        finally:
            if not _numbers(folder, "shard"):
                shutil.rmtree(folder, ignore_errors=True)


def _refuse_strangers(folder: Path) -> None:
    """Raise NmtError if a folder holds a file that was not written here, since it is deleted in the end."""
    others = [path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name)] if folder.is_dir() else []
    if others:
        raise NmtError(
            f"{folder} is needed for parts of the translation, but holds {others[0]}, which is none of them: move it "
            "away, or choose another output"
        )


def _begin(folder: Path, job: Mapping[str, Any], resume: bool, size: int) -> tuple[int, str]:
    """Prepare the folder for a job, and return the number of lines per shard and the checksum of job.json.

    The number of lines is `size`, unless there are finished shards, whose size is kept.
    """
    record: dict[str, Any] = {"lines_of_a_shard": size, "job": job}
    if _numbers(folder, "shard"):
        record = _resumed(folder, job, resume)
    checksum = _checksum(record)
    with atomic_write(folder / "job.json") as file:
        json.dump({**record, "checksum": checksum}, file, indent=1)
    _delete(folder, "taken")
    _delete(folder, ".shard")  # temporary files of processes that were killed
    return int(record["lines_of_a_shard"]), checksum


def _resumed(folder: Path, job: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """Return the content of job.json, after checking that the shards belong to this job."""
    if not resume:
        raise NmtError(
            f"{folder} holds a part of an earlier translation: add --resume to continue it, or delete the folder"
        )
    try:
        record: dict[str, Any] = read_object(folder / "job.json")
        if record.pop("checksum") != _checksum(record):
            raise ValueError("it was changed")
        before = dict(record["job"])
    except (Damaged, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NmtError(
            f"{folder / 'job.json'} is missing or damaged, or was changed, so it is unknown which translation the "
            "shards next to it belong to: delete the folder and start again"
        ) from error
    others = [name for name in {**before, **job} if before.get(name) != job.get(name)]
    if others:
        raise NmtError(
            f"{folder} holds a part of another translation, with another {' and another '.join(others)}: "
            "run the same command as before, or delete the folder"
        )
    return record


def _checksum(record: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _shard_size(lines: int, processes: int) -> int:
    """Return the number of lines per shard: LINES, or less if that would leave some processes without work."""
    if processes == 1:
        return LINES
    grids = -(-lines // (GRID * processes * _PER_PROCESS))
    return min(LINES, GRID * max(1, grids))


def _stamp(path: Path) -> tuple[int, int]:
    """Return the size and modification time of a file, by which a change is noticed."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _path(folder: Path, kind: str, index: int) -> Path:
    return folder / f"{kind}-{index:07}"


def _numbers(folder: Path, kind: str) -> set[int]:
    """Return the numbers of the files KIND-NUMBER in the folder."""
    return {int(path.name.removeprefix(f"{kind}-")) for path in folder.glob(f"{kind}-*")}


def _delete(folder: Path, kind: str) -> None:
    """Delete the files in the folder whose names begin with KIND-."""
    for path in folder.glob(f"{kind}-*"):
        with suppress(FileNotFoundError):
            path.unlink()
