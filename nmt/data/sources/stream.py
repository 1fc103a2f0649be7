"""Parallel text over the network: a data set of the `datasets` library that leaves no copy on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

from nmt.data.extent import Extent
from nmt.data.sources import hub
from nmt.data.sources.hub import DataSet
from nmt.data.sources.source import Pair, Say
from nmt.errors import ConfigError, Unfinished

_PAUSES = (1, 4, 16, 64)  # seconds before a broken stream is opened anew


@dataclass(frozen=True)
class Stream(DataSet):
    """One split of a data set, read from a stream that can go on where it was."""

    streaming: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """A text that stands for the content, which is not read: configuration, split and revision of the files.

        Of the hub that is the commit; of a folder, the names, sizes and times of change of its files.
        """
        builder = hub.builder_of(self.hub, self.config)
        revision = f"{builder.dataset_name} {builder.config_id} {builder.info.version} {builder.hash} {self.split}"
        return f"stream {revision} {self.field} {' '.join(self.languages)}"

    def files(self) -> list[Path]:
        """There are none on this machine."""
        return []

    def size(self) -> None:
        """Return None: the size of a stream is not known."""

    def pairs(self, say: Say, extent: Extent | None = None) -> Iterator[Pair]:
        """Yield the pairs row by row."""
        return chain.from_iterable(pairs for pairs, _ in self._rows_from(None, say))

    def blocks(self, place: Any, say: Say, extent: Extent) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs after a place in blocks, each with the place after it."""
        rows = self._rows_from(place, say)
        while parts := list(islice(rows, self.block // hub.ROWS)):
            yield list(chain.from_iterable(pairs for pairs, _ in parts)), parts[-1][1]

    def _rows_from(self, place: Any, say: Say) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs of some rows at a time, and the place after them.

        A stream that breaks is opened anew where it was, some times with longer and longer pauses. Raises Unfinished
        where that does not help.
        """
        failures = 0  # since the last rows
        while True:
            try:
                rows = self.load()
                nested = self.is_nested(rows)
                if place is not None:
                    rows.load_state_dict(place)
                blocks = rows.iter(hub.ROWS)
                while (block := next(blocks, None)) is not None:
                    pairs, place, failures = list(self.pairs_of(block, nested)), rows.state_dict(), 0
                    yield pairs, place
                return
            except ConfigError:
                raise
            except Exception as error:  # every layer below (HTTP, hub, builders, Arrow) has exceptions of its own
                reason = " ".join(str(error).split()) or type(error).__name__
                if failures == len(_PAUSES):
                    raise Unfinished(
                        f"the stream of {self.hub} breaks again and again ({reason}): run the command again to go on"
                    ) from error
            say(f"the stream of {self.hub} broke ({reason}): opened anew where it was in {_PAUSES[failures]} s")
            time.sleep(_PAUSES[failures])
            failures += 1

    def _parts(self, splits: Mapping[str, Any]) -> Any:
        raise ConfigError(
            f"the data set {self.hub} cannot be streamed by split={self.split}: leave streaming out, or take all of it"
        )
