"""Statistics over the seeds of systems: intervals of a mean, tests of a difference, and Holm's correction.

A seed changes the initial weights, the order of the text and dropout, so the scores of several seeds show how much a
system's score depends on chance in training. Tests on the sentences of a test set (`nmt.evaluation.significance`) do
not show that: they compare two trained models.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median_high, stdev, variance

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_DIVISIONS = 200_000  # C(20, 10) = 184,756


@dataclass(frozen=True)
class Difference:
    """The difference between the means of two systems over their seeds."""

    difference: float  # the mean of the second system minus that of the first
    confidence_interval: tuple[float, float] | None  # 95%; None if a system has one seed only
    welch_p_value: float | None  # two-sided; None if a system has one seed only
    permutation_p_value: float | None  # two-sided; None if a system has one seed only


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the confidence interval of the mean of normally distributed values; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, count = fmean(values), len(values)
    reach = t_quantile(confidence, count - 1) * stdev(values) / math.sqrt(count)
    return mean - reach, mean + reach


def compare_means(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare the means of two systems whose scores are given by seed."""
    difference = fmean(second) - fmean(first)
    if min(len(first), len(second)) < 2:
        return Difference(difference, None, None, None)
    error, freedom = _welch(first, second)
    reach = t_quantile(0.95, freedom) * error
    p_value = _t_p_value(difference, error, freedom)
    interval = difference - reach, difference + reach
    return Difference(difference, interval, p_value, permutation_p_value(first, second))


def _t_p_value(difference: float, error: float, freedom: float) -> float:
    """Return the two-sided p-value of a difference; without any deviation it is 1 for no difference, 0 for another."""
    if error == 0:
        return float(difference == 0)
    return 1 - t_share(abs(difference) / error, freedom)


def _welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the standard error of the difference of two means and its degrees of freedom (Welch 1947)."""
    parts = [variance(values) / len(values) for values in (first, second)]
    total = sum(parts)
    if total == 0:
        return 0.0, len(first) + len(second) - 2
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    return math.sqrt(total), total**2 / spread


def permutation_p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of the difference of two means over all divisions of the scores in two groups.

    It assumes no distribution, but cannot be small with few seeds: with three seeds each it is at least 0.1. It is
    exact up to ten seeds each. If there are more than _DIVISIONS divisions, it is estimated from _DIVISIONS random
    ones and the measured one (Phipson and Smyth 2010).
    """
    values = [*first, *second]
    total, size = sum(values), len(second)
    measured = abs(fmean(second) - fmean(first))
    exact = math.comb(len(values), size) <= _DIVISIONS
    generator = random.Random(1)
    divisions = combinations(values, size) if exact else (generator.sample(values, size) for _ in range(_DIVISIONS))
    extreme = count = 0 if exact else 1
    for chosen in divisions:
        inside = sum(chosen)
        apart = abs(inside / size - (total - inside) / (len(values) - size))
        extreme += apart >= measured - 1e-9 * max(1.0, measured)
        count += 1
    return extreme / count


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for the number of tests (Holm 1979), in the order given.

    The smallest of n is multiplied by n, the next one by n - 1, and so on; none becomes smaller than the one before it
    in this order, or larger than 1.
    """
    corrected = [0.0] * len(p_values)
    least = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[index]))
        corrected[index] = least
    return corrected


def combined(p_values: Sequence[float]) -> float:
    """Return one valid p-value for several tests of the same hypothesis, however they depend on each other.

    It is twice their median (Meinshausen, Meier & Bühlmann 2009, with gamma = 1/2), the upper one of two; a single
    p-value stays as it is.
    """
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median_high(p_values))


def t_share(t: float, freedom: float) -> float:
    """Return the probability that a variable with Student's t distribution is between -t and t.

    With x = sqrt(freedom) tan(angle), its density becomes a constant times cos(angle) ** (freedom - 1).
    """
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi) / 2
    half = math.atan(t / math.sqrt(freedom)) / 2
    total = half * float(_WEIGHTS @ np.cos(half * (_NODES + 1)) ** (freedom - 1))
    return min(1.0, 2 * math.exp(log_constant) * total)


def t_quantile(share: float, freedom: float) -> float:
    """Return the t for which a variable with Student's t distribution is between -t and t with this probability."""
    low, high = 0.0, 1.0
    while t_share(high, freedom) < share:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if t_share(middle, freedom) >= share else (middle, high)
    return high
