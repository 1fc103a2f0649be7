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
from nmt.data.links import NO_LINKS, PairLinks
from nmt.data.store import ARRAYS, DESCRIPTION, LINKS, SIDES, Ragged, map_array
from nmt.files import atomic_write

_BLOCK = 10_000  # pairs hashed at a time


class Packed(NamedTuple):
    """Pairs in the form in which StoreWriter appends them; any process can create it, and it is quick to send."""

    values: list[bytes]  # one array for each of ARRAYS, and of LINKS if there are any, with all sentences end to end
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
    links: Sequence[PairLinks] | None = None,
) -> Packed:
    """Pack pairs for a StoreWriter of the same `sizes`: the vocabulary sizes of source and target.

    A writer with `links` needs those of each pair.
    """
    lines = [[line.encode() for line in side] for side in (source_lines, target_lines)]
    types = _types(sizes, links is not None)
    ids = [
        np.fromiter(chain.from_iterable(side), dtype, sum(map(len, side))).tobytes()
        for side, dtype in zip((sources, targets), types[:2], strict=True)
    ]
    linked = [[one.words.ravel() for one in links], [one.pieces.ravel() for one in links]] if links is not None else []
    values = [*ids, *map(b"".join, lines), *(b"".join(map(_int32, kind)) for kind in linked)]
    ends = [np.cumsum([len(one) for one in side], dtype=np.int64) for side in (sources, targets, *lines, *linked)]
    hashed = _hashed(values, [end * dtype.itemsize for end, dtype in zip(ends, types, strict=True)])
    return Packed(values, ends, hashed)


class StoreWriter:
    """A context manager that writes a store, one pair or many at a time, without keeping them in memory.

    The folder must exist. The store is complete when the context ends without an error. Pairs have to be added corpus
    by corpus. Pairs added before a `commit` survive if the process dies; a new StoreWriter can continue after them.
    """

    def __init__(
        self,
        folder: Path,
        source_size: int,
        target_size: int,
        corpora: int = 1,
        committed: Sequence[int] = (),
        links: bool = False,
    ) -> None:
        """Start a store for these vocabulary sizes, or continue one after what its last `commit` returned.

        With `links`, every pair has links between words.
        """
        self._folder = folder
        self._sizes = source_size, target_size
        self._linked = links
        self._types = _types(self._sizes, links)
        names = [*ARRAYS, *LINKS] if links else ARRAYS
        self._corpora = list(committed) or [0] * corpora
        self._hash = blake2b(digest_size=16)
        pairs = sum(self._corpora)
        self._arrays = [
            _RaggedWriter(folder / name, dtype, pairs) for name, dtype in zip(names, self._types, strict=True)
        ]
        if pairs:
            self._hash_again(pairs)

    def __enter__(self) -> StoreWriter:
        return self

    def add(
        self,
        source: Sequence[int],
        target: Sequence[int],
        source_text: str,
        target_text: str,
        corpus: int = 0,
        links: PairLinks = NO_LINKS,
    ) -> None:
        """Append one pair: its ids, ending with EOS, its text and, if the store has any, its links."""
        each = [links] if self._linked else None
        self.extend(pack([source], [target], [source_text], [target_text], self._sizes, each), corpus)

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
        description: dict[str, Any] = {
            "pairs": sum(self._corpora),
            "corpora": self._corpora,
            "tokens": {side: array.end for side, array in zip(SIDES, self._arrays[:2], strict=True)},
            "dtype": {side: dtype.str for side, dtype in zip(SIDES, self._types[:2], strict=True)},
            "fingerprint": self._hash.hexdigest(),
        }
        if self._linked:
            description["links"] = self._arrays[len(ARRAYS)].end // LINKS["links.words"]
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


def _int32(values: NDArray[np.integer[Any]]) -> bytes:
    return values.astype("<i4").tobytes()


def _types(sizes: tuple[int, int], links: bool) -> list[np.dtype[Any]]:
    """Return the types of ARRAYS, and with `links` of LINKS, for these vocabulary sizes of source and target."""
    types = [*(np.dtype("<u2" if size < 1 << 16 else "<i4") for size in sizes), np.dtype("u1"), np.dtype("u1")]
    return types + [np.dtype("<i4")] * len(LINKS) if links else types


def _hashed(arrays: Sequence[bytes], ends: Sequence[NDArray[Any]]) -> bytes:
    """Return the input of the fingerprint's hash: for each side of each pair, the lengths in bytes, ids and text.

    Links between words come after the source text, those between pieces after the target text.
    """
    parts: list[bytes] = []
    starts: Sequence[int] = [0] * len(arrays)
    for stops in zip(*(each.tolist() for each in ends), strict=True):
        one = [array[start:stop] for array, start, stop in zip(arrays, starts, stops, strict=True)]
        for side in (one[0::2], one[1::2]):
            parts += (*(b"%d " % len(each) for each in side), *side)
        starts = stops
    return b"".join(parts)
