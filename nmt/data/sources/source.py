"""The contract of a source of parallel text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from nmt.data.compression import open_file
from nmt.data.digests import Digests
from nmt.data.extent import Extent

Pair = tuple[str, str]  # a source line and its translation
Say = Callable[[str], None]  # how a sentence is told to the user


@dataclass(frozen=True)
class Source(ABC):
    """A source of the pairs of one corpus. It reads nothing, and looks for nothing, before a method is called."""

    name: str  # what to call it
    languages: tuple[str, str]

    block: ClassVar[int] = 10_000  # pairs that `blocks` reads at a time

    @property
    @abstractmethod
    def kind(self) -> str:
        """A text that differs where other pairs would be read from files of the same content; a part of the digest."""

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """The files on this machine that hold it."""

    @abstractmethod
    def pairs(self, say: Say, extent: Extent | None = None) -> Iterator[Pair]:
        """Yield the pairs as they are, one after the other, and keep `extent` up to date.

        Raises NmtError, perhaps only at the end, for what is missing, empty or damaged, for text that is not UTF-8 and
        for unequal numbers of lines. `say` is told of a connection that broke.
        """

    def blocks(self, place: Any, say: Say, extent: Extent) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs after a place in blocks, each with the place after it, where another call can go on.

        A place is what JSON can hold; None is the beginning.
        """
        read = place or 0
        pairs = islice(self.pairs(say, extent), read, None)
        while block := list(islice(pairs, self.block)):
            read += len(block)
            yield block, read

    def check(self) -> None:
        """Raise NmtError where a file is missing or may not be read."""
        for path in self.files():
            open_file(path).close()

    def digest(self, digests: Digests) -> str:
        """Return a hash of the content, wherever it lies; of a stream, of what names its content."""
        total = blake2b(self.kind.encode(), digest_size=16)
        for path in self.files():
            with open_file(path) as file:
                total.update(digests(path, file))
        return total.hexdigest()

    def size(self) -> int | None:
        """Return the bytes of the files; None for a stream."""
        return sum(path.stat().st_size for path in self.files())
