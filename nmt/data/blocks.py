"""Cleaned training text on its way from the corpora into the store: blocks of pairs, each written atomically to a file.

A file contains the pairs that were kept out of about 10,000, and the state of cleaning after them, so that cleaning can
be resumed after the last file. A file is deleted once its pairs are in the store, so the text is on disk only once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nmt.data.reserved import normaliser
from nmt.errors import NmtError, Unfinished
from nmt.files import atomic_write, make_folder

_SIDES = ("source", "target")


@dataclass(frozen=True)
class State:
    """The state of cleaning after a block."""

    corpus: int  # the index in data.train of the corpus that all pairs of the block belong to
    place: Any  # the place in that corpus at which reading continues
    report: dict[str, Any]  # the cleaning report of all pairs so far


class Blocks:
    """A folder of blocks, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, and create it if it is missing."""
        self.folder = make_folder(folder)

    def path(self, number: int) -> Path:
        """Return the path of a block's file."""
        return self.folder / f"{number:07}.npz"

    def numbers(self) -> list[int]:
        """Return the numbers of the blocks that exist, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.npz"))

    def write(
        self,
        number: int,
        pairs: Sequence[tuple[str, str]],
        keys: Sequence[Sequence[int]],
        state: State,
        links: Sequence[str] | None = None,
    ) -> None:
        """Write a block: cleaned pairs, their keys for finding duplicates, and the state of cleaning after them.

        `links` has a line of links for each pair, if the corpus has word alignments.
        """
        texts = {name: [pair[side] for pair in pairs] for side, name in enumerate(_SIDES)}
        if links is not None:
            texts["links"] = list(links)
        arrays: dict[str, Any] = {name: _bytes("".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}
        after = _bytes(json.dumps(asdict(state)))
        with atomic_write(self.path(number), "wb") as file:
            np.savez(file, **arrays, keys=np.array(keys, np.uint64), state=after)

    def delete(self, numbers: Iterable[int]) -> None:
        """Delete the files of blocks; files that do not exist are ignored."""
        for number in numbers:
            self.path(number).unlink(missing_ok=True)


def state_of(path: Path) -> State:
    """Return the state of cleaning after the block in a file."""
    return State(**json.loads(_read(path, "state").tobytes()))


def keys_of(path: Path) -> list[list[int]]:
    """Return the keys of each pair in a block's file."""
    keys: list[list[int]] = _read(path, "keys").tolist()
    return keys


def lines_of(path: Path, side: int) -> list[str]:
    """Return the source (0) or target (1) lines in a block's file."""
    return _text(path, _SIDES[side])


def links_of(path: Path) -> list[str] | None:
    """Return the line of links of each pair in a block's file; None if its corpus has no word alignments."""
    return _text(path, "links") if "links" in _names(path) else None


def characters_of(path: Path, normalization: str) -> tuple[Counter[str], Counter[str]]:
    """Count each character of a block's source and target lines, after a tokenizer's normalization of that name."""
    counts = []
    normalise = normaliser(normalization)
    for side in _SIDES:
        codes = np.frombuffer(normalise(_read(path, side).tobytes().decode()).encode("utf-32-le"), "<u4")
        found = np.bincount(codes)
        counts.append(Counter({chr(code): int(found[code]) for code in np.flatnonzero(found) if chr(code) != "\n"}))
    return counts[0], counts[1]


def spread(lines: Iterable[str], share: float) -> Iterator[str]:
    """Yield a share of the lines, spread evenly over all of them."""
    for number, line in enumerate(lines):
        if int((number + 1) * share) > int(number * share):
            yield line


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _text(path: Path, name: str) -> list[str]:
    return _read(path, name).tobytes().decode().split("\n")[:-1]


def _names(path: Path) -> list[str]:
    with _opened(path) as arrays:
        return list(arrays)


def _read(path: Path, name: str) -> NDArray[Any]:
    with _opened(path) as arrays:
        found: NDArray[Any] = arrays[name]
        return found


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open a block's file; raises NmtError if it, or the array that is read from it, is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except OSError as error:
        raise Unfinished(
            f"{path} could not be read: {error.strerror or error}; run the same command again to continue"
        ) from error
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise NmtError(f"{path} is damaged: remove the folder {path.parents[1]}, then prepare again") from error
