"""Progress through a corpus, from which the remaining time is estimated."""

from __future__ import annotations

import os
from typing import BinaryIO


class Extent:
    """The share of a corpus that has been read; the code that reads the corpus keeps it up to date."""

    def __init__(self) -> None:
        self._files: list[tuple[BinaryIO, int]] = []
        self._rows: tuple[int, int] | None = None

    def watch(self, file: BinaryIO) -> None:
        """Follow a file on disk that is read from beginning to end."""
        self._files.append((file, os.fstat(file.fileno()).st_size))

    def reach(self, rows: int, total: int) -> None:
        """Record that `rows` of `total` rows have been read."""
        self._rows = rows, total

    @property
    def share(self) -> float | None:
        """The share that has been read, from 0 to 1; None if it cannot be known, as for a stream."""
        if self._rows is not None:
            return self._rows[0] / max(1, self._rows[1])
        if not self._files:
            return None
        read = sum(size if file.closed else file.tell() for file, size in self._files)
        return read / max(1, sum(size for _, size in self._files))
