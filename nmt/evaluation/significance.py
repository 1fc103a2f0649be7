"""Confidence intervals and significance of corpus scores, from each sentence's sufficient statistics.

Intervals come from bootstrap resampling (Koehn 2004). Whether two systems differ is asked by the same resamples, or by
approximate randomisation (Riezler & Maxwell 2005). The statistics are computed once; a resample or a shuffled system is
then a sum of them, so that a thousand of every system and metric take seconds. The resamples are those of
`sacrebleu --paired-bs`, the shuffled systems those of `sacrebleu --paired-ar`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nmt.evaluation.metrics import Score, Texts, build_metric

Method = Literal["bootstrap", "randomisation"]
SAMPLES = 1000  # bootstrap resamples
TRIALS = 10_000  # shuffled pairs of systems, sacreBLEU's own number
SEED = 12345  # sacreBLEU's own
_BLOCK = 320  # trials shuffled at once; a multiple of 32, so that blocks draw the bits that one array would


class Statistics:
    """The sufficient statistics of one system under one metric: any subset or resample is scored from them."""

    def __init__(
        self,
        metric: str,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str = "",
        more_references: Texts = (),
    ) -> None:
        self.name = metric
        self._metric = build_metric(metric, target_language)
        rows = self._metric._extract_corpus_statistics(
            list(hypotheses), list(map(list, (references, *more_references)))
        )
        self.rows: NDArray[np.float64] = np.array(rows, dtype=np.float64)  # [sentences, statistics]

    def score(self) -> Score:
        """The score of the whole text: the same number as `metrics.score` gives."""
        return Score(self.name, self._score(self.rows.sum(0)), str(self._metric.get_signature()))

    def score_subset(self, sentences: Sequence[int]) -> float:
        """The corpus score of the sentences with these indices."""
        return self._score(self.rows[list(sentences)].sum(0))

    def score_totals(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corpus score of each text whose statistics add up to a row of totals [texts, statistics]."""
        return np.array([self._score(total) for total in totals])

    def _score(self, totals: NDArray[np.float64]) -> float:
        return float(self._metric._compute_score_from_stats(list(totals)).score)


@dataclass(frozen=True)
class Estimate:
    """A score with its bootstrap distribution."""

    statistics: Statistics
    score: Score
    resampled: NDArray[np.float64]  # [samples]

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """The 95% interval of the score."""
        return _interval(self.resampled)


@dataclass(frozen=True)
class Comparison:
    """How far the score of a second system lies above that of a first, and whether that may be chance."""

    difference: float
    confidence_interval: tuple[float, float]  # 95%, from the resamples
    p_value: float  # two-sided


def resample_counts(sentences: int, samples: int = SAMPLES, seed: int = SEED) -> NDArray[np.float64]:
    """How often each resample, drawn with replacement, has each sentence: [samples, sentences]."""
    draws = np.random.default_rng(seed).choice(sentences, size=(samples, sentences), replace=True)
    return np.stack([np.bincount(draw, minlength=sentences) for draw in draws]).astype(np.float64)


def estimate(statistics: Statistics, counts: NDArray[np.float64]) -> Estimate:
    """Score a system and its resamples, which have each sentence `counts` times; systems to be compared share them."""
    return Estimate(statistics, statistics.score(), statistics.score_totals(counts @ statistics.rows))


def compare(first: Estimate, second: Estimate, method: Method = "bootstrap", trials: int = TRIALS) -> Comparison:
    """Compare two systems by resamples that they share; `trials` is for approximate randomisation."""
    if method == "randomisation":
        p_value = randomisation_p_value(first.statistics, second.statistics, trials)
    else:
        p_value = bootstrap_p_value(first, second)
    return Comparison(_measured(first, second), _interval(second.resampled - first.resampled), p_value)


def bootstrap_p_value(first: Estimate, second: Estimate) -> float:
    """Return how probable a difference at least as large is, up or down, if the two systems were equally good.

    The resampled differences, moved to mean zero, stand for those that chance makes between equally good systems
    (Efron & Tibshirani 1993, ch. 16): the p-value is the share of them that are at least as far from zero as the
    difference that was measured.
    """
    differences = second.resampled - first.resampled
    return _share(np.abs(differences - differences.mean()) >= abs(_measured(first, second)))


def randomisation_p_value(first: Statistics, second: Statistics, trials: int = TRIALS) -> float:
    """Return how probable a difference at least as large is if it did not matter which system gave which translation.

    Each trial swaps the two translations of every sentence with a probability of one half (Riezler & Maxwell 2005,
    fig. 1): the p-value is the share of trials whose systems differ at least as much as the two that were measured.
    """
    sums = first.rows.sum(0), second.rows.sum(0)
    apart = first.rows - second.rows
    random = np.random.default_rng(SEED)
    differences = []
    for start in range(0, trials, _BLOCK):
        kept = random.integers(2, size=(min(_BLOCK, trials - start), len(apart)), dtype=bool)
        one = sums[1] + kept @ apart  # the statistics of the first system where kept, else of the second
        differences.append(first.score_totals(one) - second.score_totals(sums[0] + sums[1] - one))
    measured = first.score().score - second.score().score
    return _share(np.abs(np.concatenate(differences)) >= abs(measured))


def sacrebleu_p_value(first: Estimate, second: Estimate) -> float:
    """Return the p-value that `sacrebleu --paired-bs` prints, for comparison with papers that report it.

    It takes the absolute differences before it moves them to mean zero, which leaves out one side: where two systems
    are equally good, it is below 0.05 about twice as often as it should be.
    """
    measured = abs(_measured(first, second))
    if measured == 0:
        return 1.0
    resampled = np.abs(second.resampled - first.resampled)
    return _share(resampled - resampled.mean() > measured)


def _measured(first: Estimate, second: Estimate) -> float:
    return second.score.score - first.score.score


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval: the values without their lowest and highest fortieth."""
    ordered = np.sort(values)
    cut = len(ordered) // 40
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])


def _share(extreme: NDArray[np.bool_]) -> float:
    """The share of trials that are as extreme as what was measured, which counts as one of them."""
    return (int(extreme.sum()) + 1) / (len(extreme) + 1)
