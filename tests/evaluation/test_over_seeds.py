"""Tests of statistics over seeds against printed tables, computations by hand and brute force."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import fmean

import pytest

from nmt.evaluation.over_seeds import (
    combined,
    compare_means,
    holm,
    mean_interval,
    permutation_p_value,
    t_quantile,
    t_share,
)


@pytest.mark.parametrize(
    ("freedom", "quantile"),  # Student's table of two-sided 95%
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_quantiles_are_those_of_the_printed_table(freedom: int, quantile: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, abs=5.1e-4)


@pytest.mark.parametrize("t", [0.1, 1.0, 3.5, 40.0, 5000.0])
def test_shares_are_those_of_closed_forms(t: float) -> None:
    assert t_share(t, 1) == pytest.approx(2 * math.atan(t) / math.pi, abs=1e-12)
    assert t_share(t, 2) == pytest.approx(t / math.sqrt(2 + t * t), abs=1e-12)
    assert t_share(t, 1e7) == pytest.approx(math.erf(t / math.sqrt(2)), abs=1e-6)


def test_of_many_seeds_random_divisions_are_counted() -> None:
    generator = random.Random(3)
    first = [generator.gauss(0, 1) for _ in range(10)]
    second = [generator.gauss(0.8, 1) for _ in range(10)]
    exact = permutation_p_value(first, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.evaluation.over_seeds._DIVISIONS", 20_000)
        sampled = permutation_p_value(first, second)
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    assert sampled != exact
    assert permutation_p_value([0.0] * 30, [1.0] * 30) == 1 / 200_001, "the measured division counts"


def test_an_interval_by_hand() -> None:
    # mean 2, deviation 1, 4.3027 / sqrt(3) = 2.4841
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert mean_interval([1.0]) is None


def test_welch_by_hand() -> None:
    first, second = [1.0, 2.0, 3.0], [4.0, 6.0]
    # variances 1 and 2; error sqrt(1/3 + 2/2) = sqrt(4/3); freedom (4/3)^2 / ((1/3)^2 / 2 + 1^2 / 1) = 32/19
    found = compare_means(first, second)
    assert found.difference == 3
    t, freedom = 3 / math.sqrt(4 / 3), 32 / 19
    steps = 200_000
    width = t / steps
    constant = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    inside = sum((1 + ((step + 0.5) * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for step in range(steps)) * width
    assert found.welch_p_value == pytest.approx(1 - 2 * constant * inside, abs=1e-6)
    assert found.confidence_interval is not None
    low, high = found.confidence_interval
    assert (low + high) / 2 == pytest.approx(3)
    assert t_share((high - 3) / math.sqrt(4 / 3), freedom) == pytest.approx(0.95)


def test_one_seed_has_no_test_and_equal_seeds_have_a_clear_one() -> None:
    alone = compare_means([1.0], [2.0, 3.0])
    assert (alone.welch_p_value, alone.permutation_p_value, alone.confidence_interval) == (None, None, None)
    assert compare_means([1.0, 1.0], [1.0, 1.0]).welch_p_value == 1
    assert compare_means([1.0, 1.0], [2.0, 2.0]).welch_p_value == 0


def test_welch_is_right_as_often_as_it_says() -> None:
    draw = random.Random(1)
    wrong = 0
    for _ in range(2000):
        first, second = ([draw.gauss(0, deviation) for _ in range(3)] for deviation in (1, 2))
        p_value = compare_means(first, second).welch_p_value
        assert p_value is not None
        wrong += p_value < 0.05
    assert 0.02 < wrong / 2000 < 0.07


def test_permutations_by_brute_force() -> None:
    draw = random.Random(2)
    first, second = ([draw.gauss(mean, 1) for _ in range(count)] for mean, count in ((0, 3), (1, 4)))
    values = [*first, *second]
    apart = []
    for chosen in product([False, True], repeat=7):
        inside = [value for value, taken in zip(values, chosen, strict=True) if taken]
        if len(inside) == 4:
            outside = [value for value, taken in zip(values, chosen, strict=True) if not taken]
            apart.append(abs(fmean(inside) - fmean(outside)))
    measured = abs(fmean(second) - fmean(first))
    assert permutation_p_value(first, second) == sum(each >= measured - 1e-12 for each in apart) / 35
    assert permutation_p_value([1, 2, 3], [4, 5, 6]) == 2 / 20
    assert permutation_p_value([0.1, 0.2], [0.2, 0.1]) == 1


def test_holm_by_hand() -> None:
    # in order: 4 x 0.01, 3 x 0.02, 2 x 0.03 (is not above 0.06), 1 x 0.9
    assert holm([0.02, 0.9, 0.01, 0.03]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_combined_is_twice_the_median() -> None:
    assert combined([0.03]) == 0.03
    assert combined([0.01, 0.5, 0.02]) == 0.04
    assert combined([0.01, 0.02]) == 0.04
    assert combined([0.7, 0.8]) == 1
