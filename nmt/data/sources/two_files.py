"""Two text files, the lines of which answer each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import cast

from nmt.data.compression import existing, lines
from nmt.data.extent import Extent
from nmt.data.sources.source import Pair, Say, Source
from nmt.errors import NmtError


@dataclass(frozen=True)
class Files(Source):
    """A file of source lines and one of target lines, plain or compressed as their names tell."""

    paths: tuple[Path, Path]
    or_compressed: bool  # whether .gz or .xz may be added to their names

    kind = "files"

    def files(self) -> tuple[Path, Path]:
        """The file of source lines and that of target lines."""
        return (self._find(self.paths[0]), self._find(self.paths[1])) if self.or_compressed else self.paths

    def pairs(self, say: Say, extent: Extent | None = None) -> Iterator[Pair]:
        """Yield a line of each at a time."""
        paths = self.files()
        counts = [0, 0]
        for pair in zip_longest(*(lines(path, extent) for path in paths)):
            for side, line in enumerate(pair):
                counts[side] += line is not None
            if counts[0] == counts[1]:
                yield cast(Pair, pair)
        for path, count in zip(paths, counts, strict=True):
            if count == 0:
                raise NmtError(f"{path} is empty")
        if counts[0] != counts[1]:
            raise NmtError(
                f"{paths[0]} has {counts[0]:,} lines and {paths[1]} has {counts[1]:,}: "
                "line i of one must answer line i of the other"
            )

    @staticmethod
    def _find(path: Path) -> Path:
        if (found := existing(path)) is None:
            raise NmtError(f"{path} is missing (also looked for .gz and .xz)")
        return found
