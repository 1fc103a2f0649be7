"""The best candidates agree with a stable sort, and finished sentences leave the batch."""

from __future__ import annotations

import math

import pytest
import torch

from nmt.search.steps import Remaining, top_candidates


@pytest.mark.parametrize("values", [1, 2, 5, 1000])
@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_top_candidates_are_the_first_of_a_stable_sort(values: int, k: int) -> None:
    generator = torch.Generator().manual_seed(values)
    candidates = torch.randint(-values, 2, (50, 40), generator=generator) * 0.3
    candidates[torch.rand(50, 40, generator=generator) < 0.2] = -math.inf
    expected, indices = candidates.sort(dim=1, descending=True, stable=True)
    found = top_candidates(candidates, k)
    assert torch.equal(found[0], expected[:, :k])
    finite = found[0] > -math.inf  # the choice among impossible candidates does not matter
    assert torch.equal(found[1][finite], indices[:, :k][finite])


@pytest.mark.parametrize("vocab", [7, 320, 573])
@pytest.mark.parametrize("values", [1, 2, 9, 100_000])
def test_a_maximum_is_the_first_of_a_stable_sort(vocab: int, values: int) -> None:
    """Greedy search relies on this, although torch does not promise it: the batch must not decide a tie."""
    generator = torch.Generator().manual_seed(values)
    log_probs = torch.randint(-values, 1, (300, vocab), generator=generator) * 0.3
    log_probs[torch.rand(300, vocab, generator=generator) < 0.2] = -math.inf
    _, indices = log_probs.sort(dim=1, descending=True, stable=True)
    for rows in (1, 5, 300):
        value, token = log_probs[:rows].max(1)
        finite = value > -math.inf
        assert torch.equal(token[finite], indices[:rows, 0][finite])


def test_those_that_leave_are_named_and_the_others_stay() -> None:
    remaining = Remaining(torch.tensor([4, 9, 2, 7]))
    assert remaining.leave(torch.tensor([False, False, False, False])) == ([], None)
    left, stay = remaining.leave(torch.tensor([False, True, True, False]))
    assert left == [(1, 1), (2, 2)]
    assert stay is not None
    assert stay.tolist() == [0, 3]
    left, stay = remaining.leave(torch.tensor([False, True]))
    assert left == [(1, 3)]
    assert remaining.sentences == [0]


def test_rows_stay_until_enough_of_them_are_answered() -> None:
    remaining = Remaining(torch.full((32,), 9))
    gone = torch.arange(32) < 3
    assert remaining.leave(gone) == ([(0, 0), (1, 1), (2, 2)], None)
    assert remaining.leave(gone) == ([], None)  # each sentence is returned only once
    left, stay = remaining.leave(torch.arange(32) < 4)
    assert left == [(3, 3)]
    assert stay is not None
    assert stay.tolist() == remaining.sentences == list(range(4, 32))


def test_a_look_happens_every_few_steps_and_at_the_next_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.search.steps.LOOK_EVERY", 4)
    monkeypatch.setattr("nmt.search.steps.is_waited_for", lambda device: True)
    remaining = Remaining(torch.tensor([3, 6, 10]))
    assert [length for length in range(1, 11) if remaining.look_now(length)] == [3, 4, 8]
    remaining.leave(torch.tensor([True, False, False]))
    assert [length for length in range(4, 11) if remaining.look_now(length)] == [4, 6, 8]
