"""Tests of batches of similar length, and of processing several batches at once."""

from __future__ import annotations

import random
import threading
import time

import pytest

from nmt.inference.batches import batches, side_by_side


@pytest.mark.parametrize("budget", [1, 60, 400, 100_000])
def test_batches_keep_their_budget_and_large_ones_have_little_padding(budget: int) -> None:
    draw = random.Random(budget)
    lengths = [draw.randint(1, 60) for _ in range(500)]
    made = list(batches(lengths, budget))
    assert sorted(index for batch in made for index in batch) == list(range(500))
    for batch in made:
        padded = max(lengths[index] for index in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
        assert padded <= budget / 4 or padded - sum(lengths[index] for index in batch) <= padded / 10


@pytest.mark.parametrize("streams", [1, 3])
def test_answers_come_in_the_order_of_the_items(streams: int) -> None:
    assert list(side_by_side(lambda item: item * item, range(20), streams)) == [item * item for item in range(20)]


def test_streams_run_at_once() -> None:
    together = threading.Barrier(3, timeout=20)
    assert len(list(side_by_side(lambda _: together.wait(), range(6), 3))) == 6


@pytest.mark.parametrize("streams", [1, 2])
def test_an_error_ends_it_and_what_has_not_begun_is_left(streams: int) -> None:
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError(item)
        time.sleep(0.01)

    with pytest.raises(ValueError, match="0"):
        list(side_by_side(fail, range(2000), streams))
    assert len(begun) < 2000


def test_every_thread_begins_before_its_first_item() -> None:
    begun: set[int] = set()
    answers = side_by_side(
        lambda _: threading.get_ident() in begun, range(20), 3, lambda: begun.add(threading.get_ident())
    )
    assert all(answers)
    assert threading.get_ident() not in begun
