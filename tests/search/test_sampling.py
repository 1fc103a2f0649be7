"""Sampling from a random table: frequencies are probabilities, exclusions hold, and the batch has no influence."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from nmt.errors import NmtError, UsageError
from nmt.search.constraints import Constraints
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.sampling import draw, sample, uniform_numbers
from tests.search.test_beam import BOS, EOS, PAD, UNK, VOCAB, Table, greedy


def samples(
    table: Table,
    sentences: list[int],
    max_lengths: list[int],
    count: int,
    sampling: Sampling = Sampling(),  # noqa: B008 (a constant)
    alpha: float = 0.0,
    prefixes: Tensor | None = None,
) -> list[list[Hypothesis]]:
    memory, state = table.start(sentences)
    return sample(
        table.step, memory, state, bos=BOS, sampling=sampling, max_lengths=torch.tensor(max_lengths),
        uniforms=uniform_numbers(sampling.seed, [(key,) for key in sentences], count, max(max_lengths, default=1)),
        constraints=Constraints(EOS, (PAD, BOS), prefixes=prefixes), length_penalty=LengthPenalty(alpha, "gnmt"),
    )  # fmt: skip


def whole(hypothesis: Hypothesis) -> tuple[int, ...]:
    return (*hypothesis.tokens, EOS) if hypothesis.finished else tuple(hypothesis.tokens)


def outcomes(table: Table, sentence: int, max_length: int, sampling: Sampling) -> dict[tuple[int, ...], float]:
    """Return the probability of every hypothesis of a sentence, computed token by token with plain lists."""
    found: dict[tuple[int, ...], float] = {}

    def grow(tokens: tuple[int, ...], probability: float) -> None:
        if tokens and (tokens[-1] == EOS or len(tokens) == max_length):
            found[tokens] = probability
            return
        previous, last = [PAD, BOS, *tokens][-2:]
        row = table.log_probs[sentence, previous, last].tolist()
        weights = {token: math.exp(row[token] / sampling.temperature) for token in (UNK, EOS, 4, 5)}
        ranked = sorted(weights, key=lambda token: -weights[token])[: sampling.top_k]
        total, reached, kept = sum(weights[token] for token in ranked), 0.0, []
        for token in ranked:
            if reached / total < (sampling.top_p or 2.0):
                kept.append(token)
            reached += weights[token]
        for token in kept:
            grow((*tokens, token), probability * weights[token] / sum(weights[each] for each in kept))

    grow((), 1.0)
    return found


def chi_squared(observed: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], float], count: int) -> float:
    """Return the chi-squared statistic in standard deviations above its mean; rare outcomes are counted as one."""
    rare = [key for key, probability in expected.items() if probability * count < 8]
    cells = [(observed.get(key, 0), expected[key] * count) for key in expected if key not in rare]
    cells.append((sum(observed.get(key, 0) for key in rare), sum(expected[key] for key in rare) * count))
    cells = [(seen, mean) for seen, mean in cells if mean > 0]
    freedom = len(cells) - 1
    return (sum((seen - mean) ** 2 / mean for seen, mean in cells) - freedom) / math.sqrt(2 * max(freedom, 1))


SETTINGS = [
    Sampling(),
    Sampling(temperature=0.6),
    Sampling(temperature=1.7),
    Sampling(top_k=2),
    Sampling(top_p=0.7),
    Sampling(temperature=1.3, top_k=3, top_p=0.8),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_hypotheses_are_drawn_as_often_as_they_are_probable(sampling: Sampling) -> None:
    table = Table(sentences=3, seed=41, temperature=0.8)
    count = 4000
    for sentence, drawn in enumerate(samples(table, [0, 1, 2], [3, 4, 3], count, sampling)):
        expected = outcomes(table, sentence, [3, 4, 3][sentence], sampling)
        assert sum(expected.values()) == pytest.approx(1.0)
        observed: dict[tuple[int, ...], int] = {}
        for one in drawn:
            observed[whole(one)] = observed.get(whole(one), 0) + 1
        assert set(observed) <= set(expected), "something excluded was drawn"
        assert len(observed) > 1
        assert chi_squared(observed, expected, count) < 5


def test_the_statistic_tells_another_temperature() -> None:
    table = Table(sentences=1, seed=41)
    (drawn,) = samples(table, [0], [3], 4000)
    observed: dict[tuple[int, ...], int] = {}
    for one in drawn:
        observed[whole(one)] = observed.get(whole(one), 0) + 1
    assert chi_squared(observed, outcomes(table, 0, 3, Sampling(temperature=1.15)), 4000) > 5


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_the_log_probability_is_the_models_own(sampling: Sampling) -> None:
    table = Table(sentences=5, seed=43)
    for sentence, drawn in enumerate(samples(table, [0, 1, 2, 3, 4], [6] * 5, 20, sampling, alpha=0.7)):
        assert len(drawn) == 20
        for one in drawn:
            assert one.log_prob == pytest.approx(table.forced(sentence, list(whole(one))), abs=1e-5)
            assert one.score == pytest.approx(one.log_prob / ((5 + len(whole(one))) / 6) ** 0.7, abs=1e-5)


@pytest.mark.parametrize("sampling", [Sampling(temperature=1e-6), Sampling(top_k=1), Sampling(top_p=1e-6)], ids=str)
def test_without_a_choice_sampling_is_greedy_search(sampling: Sampling) -> None:
    table = Table(sentences=30, seed=47)
    limits = [1 + sentence % 8 for sentence in range(30)]
    expected = greedy(table, list(range(30)), limits)
    for one, drawn in zip(expected, samples(table, list(range(30)), limits, 3, sampling), strict=True):
        assert [each.tokens for each in drawn] == [one.tokens] * 3
        assert [each.finished for each in drawn] == [one.finished] * 3


def test_company_order_and_count_change_nothing_and_the_seed_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(sentences=30, seed=53)
    limits = [2 + sentence % 9 for sentence in range(30)]
    together = samples(table, list(range(30)), limits, 4)
    assert together == samples(table, list(range(30))[::-1], limits[::-1], 4)[::-1]
    assert together == [samples(table, [sentence], [limits[sentence]], 4)[0] for sentence in range(30)]
    assert [one[:2] for one in together] == samples(table, list(range(30)), limits, 2)
    monkeypatch.setattr("nmt.search.steps.LOOK_EVERY", 7)
    monkeypatch.setattr("nmt.search.steps.is_waited_for", lambda device: True)
    assert together == samples(table, list(range(30)), limits, 4)
    other = samples(table, list(range(30)), limits, 4, Sampling(seed=2))
    assert sum(one != two for one, two in zip(together, other, strict=True)) > 25
    assert len({whole(one) for one in together[8]}) > 1


def test_finished_sentences_leave_the_batch() -> None:
    table = Table(sentences=3, seed=59)
    table.log_probs[0, :, :, EOS] = 40.0
    table.log_probs[1:, :, :, EOS] = -40.0
    found = samples(table, [0, 1, 2], [9, 2, 4], 5)
    assert table.rows == [15, 10, 5, 5]
    assert [[(len(one.tokens), one.finished) for one in drawn] for drawn in found] == [
        [(0, True)] * 5, [(2, False)] * 5, [(4, False)] * 5
    ]  # fmt: skip


def test_samples_begin_with_what_they_must_and_what_is_banned_never_appears() -> None:
    table = Table(sentences=2, seed=61)
    table.log_probs[:, :, :, [PAD, BOS]] = 5.0
    found = samples(table, [0, 1], [6, 6], 30, prefixes=torch.tensor([[4, 5, 4], [5, -1, -1]]))
    assert all(one.tokens[:3] == [4, 5, 4] for one in found[0])
    assert all(one.tokens[:1] == [5] for one in found[1])
    assert len({whole(one) for one in found[0]}) > 1
    assert not {PAD, BOS} & {token for one in itertools.chain(*found) for token in one.tokens}


def test_an_index_of_no_weight_is_never_drawn() -> None:
    weights = torch.tensor([[0.0, 2.0, 0.0, 1.0, 0.0]]).expand(6, 5)
    uniforms = torch.tensor([0.0, 0.5, 2 / 3 - 1e-9, 2 / 3 + 1e-9, 1 - 2**-53, 1.0], dtype=torch.float64)
    assert draw(weights, uniforms).tolist() == [1, 1, 1, 3, 3, 3]


def test_uniform_numbers_are_those_of_seed_key_sample_and_step() -> None:
    numbers = uniform_numbers(5, [(1, 0), (1, 1), (2, 0)], 3, 40)
    assert numbers.shape == (3, 3, 40)
    assert numbers.unique().numel() == 360
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert torch.equal(uniform_numbers(5, [(2, 0), (1, 1)], 2, 7), numbers[[2, 1], :2, :7])
    assert not torch.equal(uniform_numbers(-5, [(1, 0)], 1, 7), numbers[:1, :1, :7])
    assert uniform_numbers(5, [], 3, 40).shape == (0, 3, 40)


def test_equals_of_the_last_one_kept_stay_too() -> None:
    log_probs = torch.tensor([[0.3, 0.2, 0.2, 0.2, 0.1]]).log()
    assert (Sampling(top_k=2).weights(log_probs) > 0).tolist() == [[True, True, True, True, False]]
    assert (Sampling(top_p=0.4).weights(log_probs) > 0).tolist() == [[True, True, True, True, False]]
    assert (Sampling(top_p=0.3 - 1e-3).weights(log_probs) > 0).tolist() == [[True, False, False, False, False]]
    assert (Sampling(top_p=1.0, top_k=VOCAB).weights(log_probs) > 0).all()


@pytest.mark.parametrize(("p", "kept"), [(0.5, 1), (0.501, 2), (0.749, 2), (0.75, 2), (0.751, 3), (0.875, 3), (1, 5)])
def test_the_nucleus_is_the_smallest_set_that_reaches_p(p: float, kept: int) -> None:
    """Its probabilities add up to p or more (Holtzman et al. 2020, eq. 2); a sum of exactly p is enough."""
    weights = Sampling(top_p=p).weights(torch.tensor([[0.125, 0.5, 0.0625, 0.0625, 0.25]]).double().log())
    assert int((weights > 0).sum()) == kept


def test_nan_an_empty_batch_and_settings_that_mean_nothing() -> None:
    table = Table(sentences=1, seed=0)
    assert samples(table, [], [], 3) == []
    table.log_probs[:] = math.nan
    with pytest.raises(NmtError, match="NaN"):
        samples(table, [0], [3], 2)
    for wrong in ({"temperature": 0.0}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(UsageError):
            Sampling(**wrong)
