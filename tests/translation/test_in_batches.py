"""Pieces of text in batches, for as many streams as an engine has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest

from nmt.engines.engine import Engine
from nmt.translation.batches import batches
from nmt.translation.pieces import Piece, in_batches


class Streams:
    """What an engine says of its streams."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.shared: list[int] = []

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        self.shared.append(streams)
        return nullcontext(lambda: None)


@pytest.mark.parametrize(
    ("streams", "budget", "sizes"),
    [(1, 1000, [8]), (2, 1000, [4, 4]), (4, 1000, [2, 2, 2, 2]), (2, 15, [3, 2, 1, 1, 1])],
)
def test_no_stream_is_without_work_and_no_batch_too_large(streams: int, budget: int, sizes: list[int]) -> None:
    pieces = [Piece(line, 0, "", [line] * 5, []) for line in range(8)]
    seen: list[list[int]] = []

    def answer(batch: list[Piece]) -> list[Any]:
        seen.append([piece.line for piece in batch])
        return [[piece.line] for piece in batch]

    engine = Streams(streams)
    found = in_batches(answer, cast(Engine, engine), pieces, budget, None)
    assert found == [[line] for line in range(8)]
    assert sorted(map(len, seen), reverse=True) == sizes
    assert engine.shared == [min(streams, len(sizes))]
    assert sorted(line for batch in seen for line in batch) == list(range(8))


def test_streams_are_done_at_about_the_same_time() -> None:
    """The next batch goes to the stream that is free first, as threads take them: none works much longer than another.

    Batches of the whole budget each would leave one stream with half as much work again as its share.
    """
    lengths, budget = [10] * 400, 1000
    busy = [0, 0, 0]
    sizes = [len(batch) for batch in batches(lengths, budget, len(busy))]
    for size in sizes:
        busy[busy.index(min(busy))] += size
    assert sum(sizes) == len(lengths)
    assert max(sizes) == budget // 10 and min(sizes[:-1]) >= budget // 10 // 16
    assert max(busy) - min(busy) <= 10
