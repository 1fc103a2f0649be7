"""The interface of a source of parallel text."""

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
Say = Callable[[str], None]  # shows a message to the user

_CHARACTERS = 1 << 24  # after which a block ends early, since blocks of very long lines would fill the memory


@dataclass(frozen=True)
class Source(ABC):
    """A source of the pairs of one corpus. Creating one opens no file and no connection; only its methods do."""

    name: str  # shown to the user
    languages: tuple[str, str]  # of source and target

    block: ClassVar[int] = 10_000  # pairs in each block that `blocks` yields

    @property
    @abstractmethod
    def kind(self) -> str:
        """The settings, as text, that decide which pairs are read from the files; part of the digest."""

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """Return the files on this machine that contain the corpus."""

    @abstractmethod
    def pairs(self, say: Say, extent: Extent | None = None, cut: bool = False) -> Iterator[Pair]:
        """Yield the pairs unchanged, one after the other, and keep `extent` up to date.

        Raises NmtError, perhaps only at the end, for a missing, empty or damaged file, for text that is not UTF-8 and
        for sides with different numbers of lines. It is also raised for a line of a file with more than LONGEST_LINE
        characters; with `cut`, the beginning of such a line is yielded instead, which is longer than that limit, too.
        `say` is called with a message when a connection breaks.
        """

    def blocks(self, place: Any, say: Say, extent: Extent) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs after `place` in blocks, each with the place after it, from which a later call can resume.

        A place is a value that JSON can represent; None is the beginning of the corpus. Lines of more than LONGEST_LINE
        characters are cut.
        """
        read = place or 0
        pairs = islice(self.pairs(say, extent, cut=True), read, None)
        while block := _next_block(pairs, self.block):
            read += len(block)
            yield block, read

    def check(self) -> None:
        """Raise NmtError if a file is missing or cannot be opened for reading."""
        for path in self.files():
            open_file(path).close()

    def digest(self, digests: Digests) -> str:
        """Return a hash of the content, independent of where the files are; a stream is hashed by its `kind` alone."""
        total = blake2b(self.kind.encode(), digest_size=16)
        for path in self.files():
            with open_file(path) as file:
                total.update(digests(path, file))
        return total.hexdigest()

    def size(self) -> int | None:
        """Return the size of the files in bytes; None for a stream."""
        return sum(path.stat().st_size for path in self.files())


def _next_block(pairs: Iterator[Pair], most: int) -> list[Pair]:
    """Return the next pairs: `most` or, where they have more than _CHARACTERS characters, fewer."""
    block, room = [], _CHARACTERS
    for pair in islice(pairs, most):
        block.append(pair)
        room -= len(pair[0]) + len(pair[1])
        if room < 0:
            break
    return block
