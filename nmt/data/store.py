"""A memory-mapped parallel corpus on disk: the ids of both sides, and the text they were made from.

A store is a folder of raw little-endian arrays. {source,target}.{ids,text} contain all sentences end to end;
{source,target}.{ids,text}.offsets (int64) contain the position at which each sentence begins, and the end of the last.
Ids are uint16 if the vocabulary is small enough, otherwise int32; text is UTF-8. store.json describes the arrays.
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

from nmt.checksums import seal, verify
from nmt.errors import Damaged, unreadable
from nmt.files import atomic_write
from nmt.reading import read_object

Ids = NDArray[np.integer[Any]]

SIDES = ("source", "target")
_ARRAYS = [f"{side}.{what}" for what in ("ids", "text") for side in SIDES]
_DESCRIPTION = "store.json"
_DTYPES = ("<u2", "<i4", "u1")
_BLOCK = 10_000  # pairs hashed at a time


class Flat(NamedTuple):
    """Sentences end to end; `values` is a view of the mapped file, not a copy."""

    values: Ids  # ids, or bytes of UTF-8
    offsets: Ids  # [sentences + 1]: the position in `values` at which each begins, and the end of the last


class Store:
    """Sentence pairs as ids (with EOS, without BOS) and as text, read from disk when they are accessed.

    A store takes little memory and is cheap to send to another process, because only its path is pickled.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a store that a StoreWriter wrote; raises Damaged if it is incomplete."""
        self.folder = Path(folder)
        try:
            description = read_object(self.folder / _DESCRIPTION)
            self._length: int = description["pairs"]
            # number of pairs of each corpus, in order; None for a store of an older version
            self.corpora: list[int] | None = description.get("corpora")
            self.fingerprint: str = description["fingerprint"]
            self._ids = {side: self._open(f"{side}.ids", description["dtype"][side]) for side in SIDES}
            self._text = {side: self._open(f"{side}.text", "u1") for side in SIDES}
        except Damaged as error:
            raise self._damaged(f"{error}") from error
        except FileNotFoundError as error:
            raise self._damaged(f"{Path(error.filename).name} is missing") from error
        except OSError as error:
            raise unreadable(error.filename or self.folder, error) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(f"{error}") from error
        self.source_lengths = _lengths(self._ids["source"].offsets)  # [pairs] int32, tokens with EOS
        self.target_lengths = _lengths(self._ids["target"].offsets)

    def verify(self, source_size: int, target_size: int) -> None:
        """Check all content against its checksums and ids against the sizes of the vocabularies; reads every file.

        A store of an earlier version has no checksums: there, only the ids are checked. Raises Damaged.
        """
        names = [_DESCRIPTION, *(f"{name}{end}" for name in _ARRAYS for end in ("", ".offsets"))]
        verify(self.folder, names)
        for side, size in zip(SIDES, (source_size, target_size), strict=True):
            ids = self._ids[side]
            lengths = np.diff(ids.offsets)
            if len(lengths) and (ids.offsets[0] != 0 or lengths.min() < 1):
                raise self._damaged(f"{side}.ids.offsets do not ascend from 0")
            if len(ids.values) and not 0 <= ids.values.min() <= ids.values.max() < size:
                raise self._damaged(f"{side}.ids has ids outside of the vocabulary of {size:,}")

    def _damaged(self, how: str) -> Damaged:
        return Damaged(
            f"{self.folder} is not a complete store of prepared data ({how}): remove it and prepare the data again"
        )

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.folder,)

    def __len__(self) -> int:
        return self._length

    def source(self, index: int) -> Ids:
        """Return the ids of source sentence `index`, ending with EOS."""
        return self._ids["source"][index]

    def target(self, index: int) -> Ids:
        """Return the ids of target sentence `index`, without BOS, ending with EOS."""
        return self._ids["target"][index]

    def source_text(self, index: int) -> str:
        """Return the text of source sentence `index`."""
        return self._text["source"][index].tobytes().decode()

    def target_text(self, index: int) -> str:
        """Return the text of target sentence `index`."""
        return self._text["target"][index].tobytes().decode()

    def blocks(self, size: int = 1 << 22) -> Iterator[range]:
        """Yield all rows as consecutive ranges of at most `size` bytes of text (both sides together), or of one row."""
        ends = [self._text[side].offsets for side in SIDES]
        start = 0
        while start < self._length:
            within = [int(np.searchsorted(end, end[start] + size // 2, side="right")) - 1 for end in ends]
            stop = max(min(within), start + 1)
            yield range(start, stop)
            start = stop

    def ids(self, side: str, rows: range) -> Flat:
        """Return the ids of consecutive sentences of "source" or "target"."""
        return self._ids[side].flat(rows)

    def text(self, side: str, rows: range) -> Flat:
        """Return the text of consecutive sentences of "source" or "target"."""
        return self._text[side].flat(rows)

    def _open(self, name: str, dtype: str) -> _Ragged:
        if dtype not in _DTYPES:  # a type of Python objects, for example, would be read as pointers
            raise ValueError(f"{name} has an unknown type")
        ragged = _Ragged(_map(self.folder / name, dtype), _map(self.folder / f"{name}.offsets", "<i8"))
        if len(ragged.offsets) != self._length + 1 or ragged.offsets[-1] != len(ragged.values):
            raise ValueError(f"{name} is incomplete")
        return ragged


class Packed(NamedTuple):
    """Pairs in the form in which StoreWriter appends them; any process can create it, and it is quick to send."""

    values: list[bytes]  # one array for each of _ARRAYS, with all sentences end to end
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
            _RaggedWriter(folder / name, dtype, pairs) for name, dtype in zip(_ARRAYS, _types(self._sizes), strict=True)
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
        with atomic_write(self._folder / _DESCRIPTION) as file:
            json.dump(description, file, indent=1)
        seal(self._folder)

    def _hash_again(self, pairs: int) -> None:
        """Add the pairs that were written earlier to the fingerprint's hash."""
        arrays = [array.written() for array in self._arrays]
        for start in range(0, pairs, _BLOCK):
            parts = [array.flat(range(start, min(start + _BLOCK, pairs))) for array in arrays]
            ends = [part.offsets[1:] * part.values.itemsize for part in parts]
            self._hash.update(_hashed([part.values.tobytes() for part in parts], ends))


class _Ragged:
    """Sequences of different lengths, stored end to end in one mapped array."""

    def __init__(self, values: Ids, offsets: Ids) -> None:
        self.values = values
        self.offsets = offsets

    def __getitem__(self, index: int) -> Ids:
        if not 0 <= index < len(self.offsets) - 1:
            raise IndexError(f"there is no sentence {index}: the store has {len(self.offsets) - 1}")
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def flat(self, rows: range) -> Flat:
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Flat(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


class _RaggedWriter:
    """A writer of the files that a _Ragged reads, from the beginning or after `sentences` sentences."""

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

    def written(self) -> _Ragged:
        """Return the sentences that were there when the files were opened."""
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
    """Return the types of _ARRAYS for these vocabulary sizes of source and target."""
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
