"""Two text files, where line i of one is the translation of line i of the other."""

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
    """A file of source lines and a file of target lines; .gz and .xz files are decompressed."""

    paths: tuple[Path, Path]  # of source and target
    or_compressed: bool  # whether to look for PATH.gz and PATH.xz if PATH is missing

    kind = "files"

    def files(self) -> tuple[Path, Path]:
        """Return the file of source lines and the file of target lines."""
        return (self._find(self.paths[0]), self._find(self.paths[1])) if self.or_compressed else self.paths

    def pairs(self, say: Say, extent: Extent | None = None, cut: bool = False) -> Iterator[Pair]:
        """Yield line i of both files as a pair, for each i."""
        paths = self.files()
        counts = [0, 0]
        for pair in zip_longest(*(lines(path, extent, cut) for path in paths)):
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
                "line i of one must be the translation of line i of the other"
            )

    @staticmethod
    def _find(path: Path) -> Path:
        if (found := existing(path)) is None:
            raise NmtError(f"{path} is missing (also looked for .gz and .xz)")
        return found
