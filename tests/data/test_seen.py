"""Test the set of keys: it is exact and takes little memory."""

from __future__ import annotations

import random

import pytest

from nmt.data.seen import Seen

LARGEST = 2**64 - 1


@pytest.mark.parametrize("span", [LARGEST, 5000, 3])
def test_it_answers_as_a_set_does(span: int) -> None:
    draw = random.Random(span)
    seen, expected = Seen(), set[int]()
    for _ in range(20_000):
        key = draw.randint(0, span)
        assert (key in seen) == (key in expected)
        if draw.random() < 0.7:
            assert seen.add(key) == (key not in expected)
            expected.add(key)
    assert len(seen) == len(expected)
    assert all(key in seen for key in expected)


def test_keys_that_want_the_same_place_are_told_apart() -> None:
    seen = Seen()
    keys = [0, LARGEST, *range(1024, 1024 * 600, 1024)]  # in a table of 1024 positions all belong at the first
    assert all(seen.add(key) for key in keys)
    assert not any(seen.add(key) for key in keys)
    assert 512 not in seen


def test_it_takes_few_bytes_a_key() -> None:
    draw, seen = random.Random(1), Seen()
    for count in range(1, 200_001):
        seen.add(draw.getrandbits(64))
        if count > 10_000 and count % 1000 == 0:
            assert 8 * len(seen._places) < 20 * count
