"""A memory-mapped parallel corpus on disk: the ids of both sides, and the text they were made from.

A store is a folder of raw little-endian arrays. {source,target}.{ids,text} contain all sentences end to end;
{source,target}.{ids,text}.offsets (int64) contain the position at which each sentence begins, and the end of the last.
Ids are uint16 if the vocabulary is small enough, otherwise int32; text is UTF-8. store.json describes the arrays.
If a corpus has word alignments, links.words and links.pieces (int32) have the links of each pair (nmt.data.links).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.checksums import verify
from nmt.data.links import PairLinks
from nmt.errors import Damaged, unreadable
from nmt.reading import read_object

Ids = NDArray[np.integer[Any]]

SIDES = ("source", "target")
ARRAYS = [f"{side}.{what}" for what in ("ids", "text") for side in SIDES]
LINKS = {"links.words": 2, "links.pieces": 4}  # how many numbers a link has in each of these arrays
DESCRIPTION = "store.json"
_DTYPES = ("<u2", "<i4", "u1")


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
            description = read_object(self.folder / DESCRIPTION)
            self._length: int = description["pairs"]
            # number of pairs of each corpus, in order; None for a store of an older version
            self.corpora: list[int] | None = description.get("corpora")
            self.fingerprint: str = description["fingerprint"]
            self._ids = {side: self._open(f"{side}.ids", description["dtype"][side]) for side in SIDES}
            self._text = {side: self._open(f"{side}.text", "u1") for side in SIDES}
            self._links = {name: self._open(name, "<i4") for name in LINKS} if "links" in description else {}
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
        arrays = [*ARRAYS, *self._links]
        names = [DESCRIPTION, *(f"{name}{end}" for name in arrays for end in ("", ".offsets"))]
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

    @property
    def has_links(self) -> bool:
        """True if a corpus has word alignments; pairs of other corpora then have no links."""
        return bool(self._links)

    def links(self, index: int) -> PairLinks:
        """Return the links of pair `index`, if the store `has_links`."""
        return PairLinks(*(self._links[name][index].reshape(-1, numbers) for name, numbers in LINKS.items()))

    def count_links(self) -> tuple[int, int]:
        """Return the number of links between words, and that of pairs that have any."""
        offsets = self._links["links.words"].offsets
        return int(offsets[-1]) // LINKS["links.words"], int(np.count_nonzero(np.diff(offsets)))

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

    def _open(self, name: str, dtype: str) -> Ragged:
        if dtype not in _DTYPES:  # a type of Python objects, for example, would be read as pointers
            raise ValueError(f"{name} has an unknown type")
        ragged = Ragged(map_array(self.folder / name, dtype), map_array(self.folder / f"{name}.offsets", "<i8"))
        if len(ragged.offsets) != self._length + 1 or ragged.offsets[-1] != len(ragged.values):
            raise ValueError(f"{name} is incomplete")
        return ragged


class Ragged:
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


def map_array(path: Path, dtype: str) -> Ids:
    if path.stat().st_size == 0:  # an empty file can't be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _lengths(offsets: Ids) -> NDArray[np.int32]:
    return np.diff(offsets).astype(np.int32)
