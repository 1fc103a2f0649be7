"""Batches of sentences of similar length, processed one after the other or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield the indices of sentences in batches, longest sentences first, given their lengths.

    A batch has at most `budget` padded tokens, but at least one sentence. A batch of more than a quarter of the budget
    also ends when the next sentence would make more than a tenth of it padding.
    """
    batch: list[int] = []
    tokens = 0  # in the batch, without padding
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


def by_batch(
    answer: Callable[[list[int]], Iterable[Answer]],
    lengths: Sequence[int],
    budget: int,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Call `answer` with the indices of each of the `batches` and return the answers in the order of the sentences.

    `progress` is called after each batch with its number of sentences.
    """
    found: dict[int, Answer] = {}
    for batch in batches(lengths, budget):
        found.update(zip(batch, answer(batch), strict=True))
        if progress is not None:
            progress(len(batch))
    return [found[index] for index in range(len(lengths))]


def side_by_side(
    function: Callable[[Item], Answer], items: Iterable[Item], streams: int, begin: Callable[[], object] | None = None
) -> Iterator[Answer]:
    """Yield `function(item)` for each item, in the order of the items, computing up to `streams` of them at once.

    Several streams are threads, each of which calls `begin` first. A single stream runs in the calling thread, and
    calls `begin` first, too.
    """
    if streams == 1:
        if begin is not None:
            begin()
        yield from map(function, items)
        return
    with ThreadPoolExecutor(streams, initializer=begin) as pool:
        yield from pool.map(function, items)
