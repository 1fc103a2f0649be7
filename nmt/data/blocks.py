"""Cleaned training text on its way from the corpora into the store: blocks of pairs, each a file, whole or absent.

A block's file holds the kept pairs of some 10,000 that were read, and the state of cleaning after it, so that the last
one says where to go on. Each is deleted once its pairs are in the store: the text lies on the disk once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
    """Where cleaning stands after a block."""

    corpus: int  # of data.train, which all pairs of the block are of
    place: Any  # in that corpus, where reading goes on
    report: dict[str, Any]  # of all pairs so far


class Blocks:
    """A folder of blocks, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        """The folder is made if need be."""
        self.folder = make_folder(folder)

    def path(self, number: int) -> Path:
        """The file of a block."""
        return self.folder / f"{number:07}.npz"

    def numbers(self) -> list[int]:
        """The blocks that are there, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.npz"))

    def write(self, number: int, pairs: Sequence[tuple[str, str]], keys: Sequence[Sequence[int]], state: State) -> None:
        """Add a block: cleaned pairs, the keys that tell duplicates of each, and where cleaning stands after them."""
        source, target = (_bytes("".join(f"{pair[side]}\n" for pair in pairs)) for side in (0, 1))
        after = _bytes(json.dumps(asdict(state)))
        with atomic_write(self.path(number), "wb") as file:
            np.savez(file, source=source, target=target, keys=np.array(keys, np.uint64), state=after)

    def delete(self, numbers: Iterable[int]) -> None:
        """Remove blocks."""
        for number in numbers:
            self.path(number).unlink(missing_ok=True)


def state_of(path: Path) -> State:
    """Where cleaning stands after the block in a file."""
    return State(**json.loads(_read(path, "state").tobytes()))


def keys_of(path: Path) -> list[list[int]]:
    """The keys of each of its pairs."""
    keys: list[list[int]] = _read(path, "keys").tolist()
    return keys


def lines_of(path: Path, side: int) -> list[str]:
    """Its source (0) or target (1) lines."""
    return _read(path, _SIDES[side]).tobytes().decode().split("\n")[:-1]


def characters_of(path: Path, normalization: str) -> tuple[Counter[str], Counter[str]]:
    """How often a tokenizer with that normalization meets each character in its source and in its target lines."""
    counts = []
    normalise = normaliser(normalization)
    for side in _SIDES:
        codes = np.frombuffer(normalise(_read(path, side).tobytes().decode()).encode("utf-32-le"), "<u4")
        found = np.bincount(codes)
        counts.append(Counter({chr(code): int(found[code]) for code in np.flatnonzero(found) if chr(code) != "\n"}))
    return counts[0], counts[1]


def spread(lines: Iterable[str], share: float) -> Iterator[str]:
    """Of lines, a share evenly spread over them."""
    for number, line in enumerate(lines):
        if int((number + 1) * share) > int(number * share):
            yield line


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _read(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: NDArray[Any] = arrays[name]
    except OSError as error:
        raise Unfinished(
            f"{path} could not be read: {error.strerror or error}; the same command goes on with it"
        ) from error
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise NmtError(f"{path} is damaged: remove the folder {path.parents[1]} and prepare again") from error
    return found
