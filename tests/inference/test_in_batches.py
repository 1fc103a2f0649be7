"""Tests of dividing pieces of text into batches for the streams of an engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest

from nmt.inference.engines.engine import Engine
from nmt.inference.pieces import Piece, in_batches


class Streams:
    """A stand-in for an engine, with only the part of it that concerns streams."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.shared: list[int] = []

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        self.shared.append(streams)
        return nullcontext(lambda: None)


@pytest.mark.parametrize(
    ("streams", "budget", "sizes"), [(1, 1000, [8]), (2, 1000, [4, 4]), (4, 1000, [2, 2, 2, 2]), (2, 15, [3, 3, 2])]
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


def test_a_line_in_segments_is_done_with_its_last_one() -> None:
    pieces = [Piece(line, segment, "", [line] * (5 - segment), []) for line in range(3) for segment in range(line + 1)]
    told: list[int] = []
    done: list[int] = []

    def answer(batch: list[Piece]) -> list[Any]:
        done.append(len({piece.line for piece in batch}))
        return [[piece.line] for piece in batch]

    in_batches(answer, cast(Engine, Streams(1)), pieces, 10, told.append)
    assert sum(done) > 3, "no line is in two batches"
    assert sum(told) == 3
    assert told[0] < done[0]
