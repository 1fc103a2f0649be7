"""Sentences in batches of similar length, one after the other or several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_SMALLEST = 1 / 16  # of a budget: less is not worth the steps of a batch


def batches(lengths: Sequence[int], budget: int, streams: int = 1) -> Iterator[list[int]]:
    """Indices in batches, longest first, of at most `budget` padded tokens each, but of at least one.

    Several streams that take them one after the other have work until the end: a batch is never more than a stream's
    share of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987), down to a size below which smaller
    batches cost more than they gain.
    """
    left = sum(lengths)
    least = math.ceil(min(budget * _SMALLEST, left / streams))
    batch: list[int] = []
    limit = budget
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > limit:
            yield batch
            batch = []
        if not batch and streams > 1:
            limit = min(budget, max(least, math.ceil(left / streams)))
        batch.append(index)
        left -= lengths[index]
    if batch:
        yield batch


def side_by_side(
    function: Callable[[Item], Answer], items: Iterable[Item], streams: int, begin: Callable[[], object] | None = None
) -> Iterator[Answer]:
    """What `function` makes of each item, in their order, at up to `streams` of them at once.

    With several streams each is a thread, which calls `begin` first.
    """
    if streams == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(streams, initializer=begin) as pool:
        yield from pool.map(function, items)
