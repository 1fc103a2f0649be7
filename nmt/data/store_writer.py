"""Writing the parallel corpus on disk that `nmt.data.store` reads. An interrupted writer can be continued."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.checksums import seal
from nmt.data.store import ARRAYS, DESCRIPTION, SIDES, Ragged, map_array
from nmt.files import atomic_write

_BLOCK = 10_000  # pairs hashed at a time


class Packed(NamedTuple):
    """Pairs in the form in which StoreWriter appends them; any process can create it, and it is quick to send."""

    values: list[bytes]  # one array for each of ARRAYS, with all sentences end to end
    ends: list[NDArray[np.int64]]  # for each array the end of every sentence, counted in ids or bytes
    hashed: bytes  # the bytes that these pairs add to the input of the fingerprint's hash

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.ends[0])


def pack(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    source_lines: Sequence[str],
    target_lines: Sequence[str],
    sizes: tuple[int, int],
) -> Packed:
    """Pack pairs for a StoreWriter of the same `sizes`: the vocabulary sizes of source and target."""
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
    """A context manager that writes a store, one pair or many at a time, without keeping them in memory.

    The folder must exist. The store is complete when the context ends without an error. Pairs have to be added corpus
    by corpus. Pairs added before a `commit` survive if the process dies; a new StoreWriter can continue after them.
    """

    def __init__(
        self, folder: Path, source_size: int, target_size: int, corpora: int = 1, committed: Sequence[int] = ()
    ) -> None:
        """Start a store for these vocabulary sizes, or continue one after what its last `commit` returned."""
        self._folder = folder
        self._sizes = source_size, target_size
        self._corpora = list(committed) or [0] * corpora
        self._hash = blake2b(digest_size=16)
        pairs = sum(self._corpora)
        self._arrays = [
            _RaggedWriter(folder / name, dtype, pairs) for name, dtype in zip(ARRAYS, _types(self._sizes), strict=True)
        ]
        if pairs:
            self._hash_again(pairs)

    def __enter__(self) -> StoreWriter:
        return self

    def add(
        self, source: Sequence[int], target: Sequence[int], source_text: str, target_text: str, corpus: int = 0
    ) -> None:
        """Append one pair: its ids, ending with EOS, and its text."""
        self.extend(pack([source], [target], [source_text], [target_text], self._sizes), corpus)

    def extend(self, packed: Packed, corpus: int = 0) -> None:
        """Append packed pairs of one corpus."""
        for array, values, ends in zip(self._arrays, packed.values, packed.ends, strict=True):
            array.extend(values, ends)
        self._hash.update(packed.hashed)
        self._corpora[corpus] += packed.pairs

    def commit(self) -> list[int]:
        """Flush everything to disk and return the number of pairs of each corpus so far."""
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
        with atomic_write(self._folder / DESCRIPTION) as file:
            json.dump(description, file, indent=1)
        seal(self._folder)

    def _hash_again(self, pairs: int) -> None:
        """Add the pairs that were written earlier to the fingerprint's hash."""
        arrays = [array.written() for array in self._arrays]
        for start in range(0, pairs, _BLOCK):
            parts = [array.flat(range(start, min(start + _BLOCK, pairs))) for array in arrays]
            ends = [part.offsets[1:] * part.values.itemsize for part in parts]
            self._hash.update(_hashed([part.values.tobytes() for part in parts], ends))


class _RaggedWriter:
    """A writer of the files that a Ragged reads, from the beginning or after `sentences` sentences."""

    def __init__(self, path: Path, dtype: np.dtype[Any], sentences: int) -> None:
        self.end = 0
        self._dtype = dtype
        self._values = self._open(path, sentences)
        self._offsets = self._open(path.with_name(f"{path.name}.offsets"), sentences)
        if sentences:  # cut off what was written after the commit, which may be incomplete
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

    def written(self) -> Ragged:
        """Return the sentences that were there when the files were opened."""
        return Ragged(map_array(Path(self._values.name), self._dtype.str), map_array(Path(self._offsets.name), "<i8"))

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


def _types(sizes: tuple[int, int]) -> list[np.dtype[Any]]:
    """Return the types of ARRAYS for these vocabulary sizes of source and target."""
    return [*(np.dtype("<u2" if size < 1 << 16 else "<i4") for size in sizes), np.dtype("u1"), np.dtype("u1")]


def _hashed(arrays: Sequence[bytes], ends: Sequence[NDArray[Any]]) -> bytes:
    """Return the input of the fingerprint's hash: for each side of each pair, both lengths in bytes, ids and text."""
    parts: list[bytes] = []
    starts: Sequence[int] = [0] * len(arrays)
    for stops in zip(*(each.tolist() for each in ends), strict=True):
        one = [array[start:stop] for array, start, stop in zip(arrays, starts, stops, strict=True)]
        for ids, text in (one[0::2], one[1::2]):
            parts += (b"%d %d " % (len(ids), len(text)), ids, text)
        starts = stops
    return b"".join(parts)
