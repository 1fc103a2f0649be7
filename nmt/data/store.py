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


class StoreWriter:
    """Writes a store pair by pair; a context manager. Nothing is kept in memory.

    The folder must exist; the store is there when the context ends without an error.
    """

    def __init__(self, folder: Path, source_size: int, target_size: int) -> None:
        """source_size and target_size are the numbers of ids of each side."""
        self._folder = folder
        self._pairs = 0
        self._tokens = [0, 0]
        self._dtypes = [np.dtype("<u2" if size < 1 << 16 else "<i4") for size in (source_size, target_size)]
        self._ids = [_RaggedWriter(folder / f"{side}.ids") for side in SIDES]
        self._text = [_RaggedWriter(folder / f"{side}.text") for side in SIDES]
        self._hash = blake2b(digest_size=16)

    def __enter__(self) -> StoreWriter:
        return self

    def add(self, source: Sequence[int], target: Sequence[int], source_text: str, target_text: str) -> None:
        """Append a pair: its ids, ending with EOS, and its text."""
        for side, (ids, text) in enumerate(((source, source_text), (target, target_text))):
            packed, line = np.asarray(ids, dtype=self._dtypes[side]).tobytes(), text.encode()
            self._ids[side].add(packed, len(ids))
            self._text[side].add(line, len(line))
            self._tokens[side] += len(ids)
            self._hash.update(b"%d %d " % (len(packed), len(line)))
            self._hash.update(packed)
            self._hash.update(line)
        self._pairs += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ragged in (*self._ids, *self._text):
            ragged.close()
        if error is not None:
            return
        description = {
            "pairs": self._pairs,
            "tokens": dict(zip(SIDES, self._tokens, strict=True)),
            "dtype": {side: dtype.str for side, dtype in zip(SIDES, self._dtypes, strict=True)},
            "fingerprint": self._hash.hexdigest(),
        }
        with atomic_write(self._folder / _DESCRIPTION) as file:
            json.dump(description, file, indent=1)


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
    """Writes what a _Ragged reads."""

    def __init__(self, path: Path) -> None:
        self._values: BinaryIO = path.open("wb", buffering=1 << 20)
        self._offsets: BinaryIO = path.with_name(f"{path.name}.offsets").open("wb", buffering=1 << 20)
        self._end = 0
        self._offsets.write(self._end.to_bytes(8, "little"))

    def add(self, packed: bytes, length: int) -> None:
        self._values.write(packed)
        self._end += length
        self._offsets.write(self._end.to_bytes(8, "little"))

    def close(self) -> None:
        self._values.close()
        self._offsets.close()


def _map(path: Path, dtype: str) -> Ids:
    if path.stat().st_size == 0:  # an empty file can't be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _lengths(offsets: Ids) -> NDArray[np.int32]:
    return np.diff(offsets).astype(np.int32)
