"""Sentences in batches of similar length, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches, longest first, of at most `budget` padded tokens each, but of at least one.

    With a quarter of the budget a batch is large enough to end where more than a tenth of it would be padding.
    """
    batch: list[int] = []
    tokens = 0  # of the batch, without padding
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        padded = lengths[batch[0]] * (len(batch) + 1) if batch else 0
        padding = padded - tokens - lengths[index]
        if padded > budget or (padded > budget / 4 and padding > padded / 10):
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += lengths[index]
    if batch:
        yield batch


def side_by_side(
    function: Callable[[Item], Answer], items: Iterable[Item], streams: int, begin: Callable[[], object] | None = None
) -> Iterator[Answer]:
    """What `function` makes of each item, in their order, at up to `streams` of them at once.

    With several streams each is a thread. Each, or the only one, calls `begin` first.
    """
    if streams == 1:
        if begin is not None:
            begin()
        yield from map(function, items)
        return
    with ThreadPoolExecutor(streams, initializer=begin) as pool:
        yield from pool.map(function, items)
