"""A parallel corpus on disk, memory-mapped: the ids of both sides, and the text they were made from.

A folder of raw arrays, little-endian: {source,target}.{ids,text} hold all sentences end to end and
{source,target}.{ids,text}.offsets (int64) where each begins, with the end of the last. Ids are uint16 where the
vocabulary allows, else int32; text is UTF-8. store.json describes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.errors import NmtError
from nmt.files import atomic_write

Ids = NDArray[np.integer[Any]]

SIDES = ("source", "target")
_DESCRIPTION = "store.json"
_BLOCK = 10_000  # pairs hashed at a time


class Flat(NamedTuple):
    """Sentences end to end, without a copy of what is on the disk."""

    values: Ids  # ids, or bytes of UTF-8
    offsets: Ids  # [sentences + 1]: where each begins in `values`, and the end of the last


class Store:
    """Sentence pairs as ids (with EOS, without BOS) and as text, read from the disk as they are asked for.

    Costs little memory and little to send to another process: only its path is sent.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open what a StoreWriter wrote; raises NmtError where it is missing or damaged."""
        self.folder = Path(folder)
        try:
            description = json.loads((self.folder / _DESCRIPTION).read_text("utf-8"))
            self._length: int = description["pairs"]
            self.corpora: list[int] | None = description.get("corpora")  # pairs of each, in order; older stores: None
            self.fingerprint: str = description["fingerprint"]
            self._ids = {side: self._open(f"{side}.ids", description["dtype"][side]) for side in SIDES}
            self._text = {side: self._open(f"{side}.text", "u1") for side in SIDES}
        except (OSError, ValueError, KeyError) as error:
            raise NmtError(
                f"{self.folder} is no complete store of prepared data: remove it and prepare again"
            ) from error
        self.source_lengths = _lengths(self._ids["source"].offsets)  # [pairs] int32, tokens with EOS
        self.target_lengths = _lengths(self._ids["target"].offsets)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Store:
        """The store in `folder`."""
        return cls(folder)

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.folder,)

    def __len__(self) -> int:
        return self._length

    def source(self, index: int) -> Ids:
        """The ids of source sentence `index`, ending with EOS."""
        return self._ids["source"][index]

    def target(self, index: int) -> Ids:
        """The ids of target sentence `index`, without BOS, ending with EOS."""
        return self._ids["target"][index]

    def source_text(self, index: int) -> str:
        """Source sentence `index` as text."""
        return self._text["source"][index].tobytes().decode()

    def target_text(self, index: int) -> str:
        """Target sentence `index` as text."""
        return self._text["target"][index].tobytes().decode()

    def blocks(self, size: int = 1 << 22) -> Iterator[range]:
        """All rows in consecutive ranges, each of some `size` bytes of text on both sides together, or one row."""
        ends = [self._text[side].offsets for side in SIDES]
        start = 0
        while start < self._length:
            within = [int(np.searchsorted(end, end[start] + size // 2, side="right")) - 1 for end in ends]
            stop = max(min(within), start + 1)
            yield range(start, stop)
            start = stop

    def ids(self, side: str, rows: range) -> Flat:
        """The ids of consecutive sentences of "source" or "target"."""
        return self._ids[side].flat(rows)

    def text(self, side: str, rows: range) -> Flat:
        """The text of consecutive sentences of "source" or "target"."""
        return self._text[side].flat(rows)

    def _open(self, name: str, dtype: str) -> _Ragged:
        ragged = _Ragged(_map(self.folder / name, dtype), _map(self.folder / f"{name}.offsets", "<i8"))
        if len(ragged.offsets) != self._length + 1 or ragged.offsets[-1] != len(ragged.values):
            raise ValueError(f"{name} is not whole")
        return ragged


class Packed(NamedTuple):
    """Pairs as StoreWriter appends them: made by any process, and quick to send."""

    ids: tuple[bytes, bytes]  # of source and target, end to end
    ids_ends: tuple[NDArray[np.int64], NDArray[np.int64]]  # where each sentence ends, in ids
    text: tuple[bytes, bytes]
    text_ends: tuple[NDArray[np.int64], NDArray[np.int64]]  # in bytes
    hashed: bytes  # what these pairs add to what the fingerprint is of


def pack(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    source_lines: Sequence[str],
    target_lines: Sequence[str],
    sizes: tuple[int, int],
) -> Packed:
    """Pairs for a StoreWriter of the same sizes, the numbers of source and of target ids."""
    sides = (sources, targets)
    ids_ends = tuple(_ends(map(len, side), len(side)) for side in sides)
    ids = tuple(
        np.fromiter(chain.from_iterable(side), _id_type(size), int(ends[-1]) if len(ends) else 0).tobytes()
        for side, size, ends in zip(sides, sizes, ids_ends, strict=True)
    )
    lines = tuple([line.encode() for line in side] for side in (source_lines, target_lines))
    text_ends = tuple(_ends(map(len, side), len(side)) for side in lines)
    text = tuple(b"".join(side) for side in lines)
    hashed = _hashed(ids, [ends * _id_type(size).itemsize for ends, size in zip(ids_ends, sizes, strict=True)],
                     text, text_ends)  # fmt: skip
    return Packed(ids, ids_ends, text, text_ends, hashed)  # type: ignore[arg-type]


class StoreWriter:
    """Writes a store pair by pair, or many at once; a context manager. Nothing is kept in memory.

    The folder must exist; the store is there when the context ends without an error. Pairs come corpus by corpus. What
    was written up to a `commit` outlives the process: another one can go on after it.
    """

    def __init__(
        self, folder: Path, source_size: int, target_size: int, corpora: int = 1, committed: Sequence[int] = ()
    ) -> None:
        """source_size and target_size are the numbers of ids of each side, `committed` what `commit` gave before."""
        self._folder = folder
        self._sizes = source_size, target_size
        self._corpora = list(committed) or [0] * corpora
        self._hash = blake2b(digest_size=16)
        types = [_id_type(size) for size in self._sizes]
        pairs = sum(self._corpora)
        self._ids = [
            _RaggedWriter(folder / f"{side}.ids", dtype, pairs) for side, dtype in zip(SIDES, types, strict=True)
        ]
        self._text = [_RaggedWriter(folder / f"{side}.text", np.dtype("u1"), pairs) for side in SIDES]
        if pairs:
            self._hash_again(pairs)

    def __enter__(self) -> StoreWriter:
        return self

    def add(
        self, source: Sequence[int], target: Sequence[int], source_text: str, target_text: str, corpus: int = 0
    ) -> None:
        """Append a pair: its ids, ending with EOS, and its text."""
        self.extend(pack([source], [target], [source_text], [target_text], self._sizes), corpus)

    def extend(self, packed: Packed, corpus: int = 0) -> None:
        """Append pairs of a corpus."""
        for side in range(len(SIDES)):
            self._ids[side].extend(packed.ids[side], packed.ids_ends[side])
            self._text[side].extend(packed.text[side], packed.text_ends[side])
        self._hash.update(packed.hashed)
        self._corpora[corpus] += len(packed.ids_ends[0])

    def commit(self) -> list[int]:
        """Bring all to the disk; the number of pairs of each corpus so far."""
        for ragged in (*self._ids, *self._text):
            ragged.sync()
        return list(self._corpora)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ragged in (*self._ids, *self._text):
            ragged.close()
        if error is not None:
            return
        description = {
            "pairs": sum(self._corpora),
            "corpora": self._corpora,
            "tokens": {side: ragged.end for side, ragged in zip(SIDES, self._ids, strict=True)},
            "dtype": {side: _id_type(size).str for side, size in zip(SIDES, self._sizes, strict=True)},
            "fingerprint": self._hash.hexdigest(),
        }
        with atomic_write(self._folder / _DESCRIPTION) as file:
            json.dump(description, file, indent=1)

    def _hash_again(self, pairs: int) -> None:
        """The fingerprint of what is there already."""
        ids, text = ([_Ragged(*ragged.mapped()) for ragged in sides] for sides in (self._ids, self._text))
        for start in range(0, pairs, _BLOCK):
            stop = min(start + _BLOCK, pairs)
            parts = [[ragged.flat(range(start, stop)) for ragged in sides] for sides in (ids, text)]
            values = [[part.values.tobytes() for part in sides] for sides in parts]
            ends = [[part.offsets[1:] * part.values.itemsize for part in sides] for sides in parts]
            self._hash.update(_hashed(values[0], ends[0], values[1], ends[1]))


class _Ragged:
    """Sequences of different lengths, end to end in one mapped array."""

    def __init__(self, values: Ids, offsets: Ids) -> None:
        self.values = values
        self.offsets = offsets

    def __getitem__(self, index: int) -> Ids:
        if not 0 <= index < len(self.offsets) - 1:
            raise IndexError(f"sentence {index} of {len(self.offsets) - 1}")
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def flat(self, rows: range) -> Flat:
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Flat(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


class _RaggedWriter:
    """Writes what a _Ragged reads, from the beginning or after the sentences that are there."""

    def __init__(self, path: Path, dtype: np.dtype[Any], sentences: int) -> None:
        self.end = 0
        self._dtype = dtype
        self._values = self._open(path, sentences)
        self._offsets = self._open(path.with_name(f"{path.name}.offsets"), sentences)
        if sentences:  # what was written after a commit may be torn
            self._offsets.seek(8 * sentences)
            self.end = int.from_bytes(self._offsets.read(8), "little")
            self._offsets.truncate()
            self._values.truncate(self.end * dtype.itemsize)
            self._values.seek(0, os.SEEK_END)
        else:
            self._offsets.write(bytes(8))

    def extend(self, packed: bytes, ends: NDArray[np.int64]) -> None:
        self._values.write(packed)
        self._offsets.write((ends + self.end).astype("<i8").tobytes())
        self.end += int(ends[-1]) if len(ends) else 0

    def mapped(self) -> tuple[Ids, Ids]:
        """What was there at the beginning."""
        return _map(Path(self._values.name), self._dtype.str), _map(Path(self._offsets.name), "<i8")

    def sync(self) -> None:
        for file in (self._values, self._offsets):
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        self._values.close()
        self._offsets.close()

    @staticmethod
    def _open(path: Path, sentences: int) -> BinaryIO:
        return path.open("r+b" if sentences else "wb", buffering=1 << 20)


def _map(path: Path, dtype: str) -> Ids:
    if path.stat().st_size == 0:  # an empty file can't be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _lengths(offsets: Ids) -> NDArray[np.int32]:
    return np.diff(offsets).astype(np.int32)


def _id_type(size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if size < 1 << 16 else "<i4")


def _ends(lengths: Iterable[int], count: int) -> NDArray[np.int64]:
    return np.cumsum(np.fromiter(lengths, np.int64, count))


def _hashed(
    ids: Sequence[bytes], ids_ends: Sequence[NDArray[Any]], text: Sequence[bytes], text_ends: Sequence[NDArray[Any]]
) -> bytes:
    """Pair by pair and side by side: both lengths in bytes, the ids and the text."""
    parts: list[bytes] = []
    sides = list(zip(ids, text, strict=True))
    starts: Sequence[int] = [0] * 4
    for ends in zip(*(side.tolist() for side in (*ids_ends, *text_ends)), strict=True):
        for side, (values, line) in enumerate(sides):
            first, last, begin, end = starts[side], ends[side], starts[side + 2], ends[side + 2]
            parts += (b"%d %d " % (last - first, end - begin), values[first:last], line[begin:end])
        starts = ends
    return b"".join(parts)
