"""Parallel text streamed over the network by the `datasets` library, without a copy on this machine."""

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

_PAUSES = (1, 4, 16, 64)  # seconds to wait before each attempt to reopen a broken stream


@dataclass(frozen=True)
class Stream(DataSet):
    """One split of a data set, read as a stream that can be resumed at any place."""

    streaming: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """The identity of the content, which is not read for this: configuration, split and revision of the files.

        The revision of a data set on the hub is its commit; that of a folder follows from the paths and modification
        times of its files.
        """
        builder = hub.builder_of(self.hub, self.config)
        revision = f"{builder.dataset_name} {builder.config_id} {builder.info.version} {builder.hash} {self.split}"
        return f"stream {revision} {self.field} {' '.join(self.languages)}"

    def files(self) -> list[Path]:
        """Return an empty list: a stream has no files on this machine."""
        return []

    def size(self) -> None:
        """Return None: the size of a stream is not known."""

    def pairs(self, say: Say, extent: Extent | None = None, cut: bool = False) -> Iterator[Pair]:
        """Yield the pairs row by row."""
        return map(hub.as_lines, chain.from_iterable(pairs for pairs, _ in self._rows_from(None, say)))

    def blocks(self, place: Any, say: Say, extent: Extent) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs after `place` in blocks, each with the place after it."""
        rows = self._rows_from(place, say)
        while parts := list(islice(rows, self.block // hub.ROWS)):
            yield list(chain.from_iterable(pairs for pairs, _ in parts)), parts[-1][1]

    def _rows_from(self, place: Any, say: Say) -> Iterator[tuple[list[Pair], Any]]:
        """Yield the pairs of up to hub.ROWS rows at a time, with the place after them.

        A stream that breaks is reopened at the same place, after pauses that get longer (_PAUSES). Raises Unfinished
        if it breaks again after the last pause.
        """
        failures = 0  # since rows were last received
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
            except Exception as error:  # the layers below (HTTP, hub, builders, Arrow) share no exception class
                reason = " ".join(str(error).split()) or type(error).__name__
                if failures == len(_PAUSES):
                    raise Unfinished(
                        f"the stream of {self.hub} keeps breaking ({reason}): run the same command again to continue"
                    ) from error
            say(f"the stream of {self.hub} broke ({reason}): reopening it at the same place in {_PAUSES[failures]} s")
            time.sleep(_PAUSES[failures])
            failures += 1

    def _parts(self, splits: Mapping[str, Any]) -> Any:
        raise ConfigError(
            f"the data set {self.hub} cannot be streamed with split={self.split}: remove streaming, "
            "or name one whole split"
        )
