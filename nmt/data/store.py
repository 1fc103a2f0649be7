"""A parallel corpus on disk, memory-mapped: the ids of both sides, and the text they were made from.

A folder of raw arrays, little-endian: {source,target}.{ids,text} hold all sentences end to end and
{source,target}.{ids,text}.offsets (int64) where each begins, with the end of the last. Ids are uint16 where the
vocabulary allows, else int32; text is UTF-8. store.json describes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
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
_ARRAYS = [f"{side}.{what}" for what in ("ids", "text") for side in SIDES]
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

    values: list[bytes]  # ids of source and target, then text of source and target, each end to end
    ends: list[NDArray[np.int64]]  # where each sentence ends in these, in ids or in bytes
    hashed: bytes  # what these pairs add to what the fingerprint is of

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.ends[0])


def pack(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    source_lines: Sequence[str],
    target_lines: Sequence[str],
    sizes: tuple[int, int],
) -> Packed:
    """Pairs for a StoreWriter of the same sizes, the numbers of source and of target ids."""
    lines = [[line.encode() for line in side] for side in (source_lines, target_lines)]
    types = _types(sizes)
    ids = [
        np.fromiter(chain.from_iterable(side), dtype, sum(map(len, side))).tobytes()
        for side, dtype in zip((sources, targets), types[:2], strict=True)
    ]
    values = [*ids, *map(b"".join, lines)]
    ends = [np.cumsum([len(one) for one in side], dtype=np.int64) for side in (sources, targets, *lines)]
    hashed = _hashed(values, [end * dtype.itemsize for end, dtype in zip(ends, types, strict=True)])
    return Packed(values, ends, hashed)


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
        pairs = sum(self._corpora)
        self._arrays = [
            _RaggedWriter(folder / name, dtype, pairs) for name, dtype in zip(_ARRAYS, _types(self._sizes), strict=True)
        ]
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
        for array, values, ends in zip(self._arrays, packed.values, packed.ends, strict=True):
            array.extend(values, ends)
        self._hash.update(packed.hashed)
        self._corpora[corpus] += packed.pairs

    def commit(self) -> list[int]:
        """Bring all to the disk; the number of pairs of each corpus so far."""
        for array in self._arrays:
            array.sync()
        return list(self._corpora)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for array in self._arrays:
            array.close()
        if error is not None:
            return
        description = {
            "pairs": sum(self._corpora),
            "corpora": self._corpora,
            "tokens": {side: array.end for side, array in zip(SIDES, self._arrays[:2], strict=True)},
            "dtype": {side: dtype.str for side, dtype in zip(SIDES, _types(self._sizes)[:2], strict=True)},
            "fingerprint": self._hash.hexdigest(),
        }
        with atomic_write(self._folder / _DESCRIPTION) as file:
            json.dump(description, file, indent=1)

    def _hash_again(self, pairs: int) -> None:
        """The fingerprint of what is there already."""
        arrays = [array.written() for array in self._arrays]
        for start in range(0, pairs, _BLOCK):
            parts = [array.flat(range(start, min(start + _BLOCK, pairs))) for array in arrays]
            ends = [part.offsets[1:] * part.values.itemsize for part in parts]
            self._hash.update(_hashed([part.values.tobytes() for part in parts], ends))


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

    def written(self) -> _Ragged:
        """What was there at the beginning."""
        return _Ragged(_map(Path(self._values.name), self._dtype.str), _map(Path(self._offsets.name), "<i8"))

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


def _types(sizes: tuple[int, int]) -> list[np.dtype[Any]]:
    """The types of _ARRAYS, given the numbers of source and of target ids."""
    return [*(np.dtype("<u2" if size < 1 << 16 else "<i4") for size in sizes), np.dtype("u1"), np.dtype("u1")]


def _hashed(arrays: Sequence[bytes], ends: Sequence[NDArray[Any]]) -> bytes:
    """Pair by pair and side by side: both lengths in bytes, the ids and the text."""
    parts: list[bytes] = []
    starts: Sequence[int] = [0] * len(arrays)
    for stops in zip(*(each.tolist() for each in ends), strict=True):
        one = [array[start:stop] for array, start, stop in zip(arrays, starts, stops, strict=True)]
        for ids, text in (one[0::2], one[1::2]):
            parts += (b"%d %d " % (len(ids), len(text)), ids, text)
        starts = stops
    return b"".join(parts)
