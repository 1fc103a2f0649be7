"""A tab-separated file with a column for each language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.data import long_lines
from nmt.data.compression import lines
from nmt.data.extent import Extent
from nmt.data.sources.source import Pair, Say, Source
from nmt.errors import ConfigError, NmtError


@dataclass(frozen=True)
class Tsv(Source):
    """A tab-separated file, with one pair per line.

    Without `columns`, the first line may name the columns; if it does not, the first column is the source and the
    second is the target.
    """

    path: Path
    columns: list[str] | None  # the language of each column, in order

    @property
    def kind(self) -> str:
        """The columns and languages as configured, since the file's content alone does not say which are read."""
        return f"tsv {self.columns} {' '.join(self.languages)}"

    def files(self) -> list[Path]:
        """Return the file as a list."""
        return [self.path]

    def pairs(self, say: Say, extent: Extent | None = None, cut: bool = False) -> Iterator[Pair]:
        """Yield the cells of the source and target languages, line by line; both are the line itself if it is cut."""
        number, named, order = 0, False, self.columns or list(self.languages)
        for number, line in enumerate(lines(self.path, extent, cut), start=1):
            cells = line.split("\t")
            if number == 1:
                named = self.columns is None and set(self.languages) <= set(cells)
                order = cells if named else order
                source, target = self._places(order)
                if named:
                    continue
            if len(line) > long_lines.LONGEST_LINE:  # without its end, its cells are not known
                yield line, line
                continue
            if len(cells) != len(order):
                raise NmtError(
                    f"{self.path}, line {number}: {len(cells)} columns where {len(order)} are expected "
                    f"({', '.join(order)})"
                )
            yield cells[source], cells[target]
        if number == int(named):
            raise NmtError(f"{self.path} is empty" + (", but for the names of its columns" if named else ""))

    def _places(self, columns: Sequence[str]) -> tuple[int, int]:
        for language in self.languages:
            if language not in columns:
                raise ConfigError(f"the tsv's columns ({', '.join(columns)}) do not include {language}")
        return columns.index(self.languages[0]), columns.index(self.languages[1])
