"""Confidence intervals and significance tests of corpus scores, based on the sufficient statistics of each sentence.

Confidence intervals come from bootstrap resampling (Koehn 2004). The difference between two systems is tested with the
same resamples or by approximate randomisation (Riezler & Maxwell 2005). The statistics of each sentence are computed
only once. A resample or a shuffled system is then a sum of statistics, so a thousand resamples of every system and
metric take seconds. The random choices are the same as those of `sacrebleu --paired-bs` and `sacrebleu --paired-ar`.
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
TRIALS = 10_000  # trials of approximate randomisation, as in sacreBLEU
SEED = 12345  # sacreBLEU's default
_BLOCK = 320  # trials drawn at once; a multiple of 32, so that the random bits are those of one single draw


class Statistics:
    """The sufficient statistics of one system under one metric, from which any subset or resample can be scored."""

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
        """Return the score of the whole text, the same number that `metrics.score` returns."""
        return Score(self.name, self._score(self.rows.sum(0)), str(self._metric.get_signature()))

    def score_subset(self, sentences: Sequence[int]) -> float:
        """Return the corpus score of the sentences with these indices."""
        return self._score(self.rows[list(sentences)].sum(0))

    def score_totals(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a corpus score for each row of `totals` [texts, statistics], the summed statistics of a text."""
        return np.array([self._score(total) for total in totals])

    def _score(self, totals: NDArray[np.float64]) -> float:
        return float(self._metric._compute_score_from_stats(list(totals)).score)


@dataclass(frozen=True)
class Estimate:
    """A score with its bootstrap distribution."""

    statistics: Statistics
    score: Score
    resampled: NDArray[np.float64]  # the score of each resample [samples]

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the score."""
        return _interval(self.resampled)


@dataclass(frozen=True)
class Comparison:
    """The difference between the scores of two systems and its significance."""

    difference: float  # the score of the second system minus that of the first
    confidence_interval: tuple[float, float]  # 95%, from the resamples
    p_value: float  # two-sided


def resample_counts(sentences: int, samples: int = SAMPLES, seed: int = SEED) -> NDArray[np.float64]:
    """Draw resamples with replacement; return how often each contains each sentence [samples, sentences]."""
    draws = np.random.default_rng(seed).choice(sentences, size=(samples, sentences), replace=True)
    return np.stack([np.bincount(draw, minlength=sentences) for draw in draws]).astype(np.float64)


def estimate(statistics: Statistics, counts: NDArray[np.float64]) -> Estimate:
    """Score a system and its resamples.

    `counts` [samples, sentences] comes from `resample_counts` and has to be the same for all systems that are compared.
    """
    return Estimate(statistics, statistics.score(), statistics.score_totals(counts @ statistics.rows))


def compare(first: Estimate, second: Estimate, method: Method = "bootstrap", trials: int = TRIALS) -> Comparison:
    """Compare two systems that were estimated on the same resamples.

    `method` chooses how the p-value is computed; `trials` only matters for randomisation.
    """
    if method == "randomisation":
        p_value = randomisation_p_value(first.statistics, second.statistics, trials)
    else:
        p_value = bootstrap_p_value(first, second)
    return Comparison(_measured(first, second), _interval(second.resampled - first.resampled), p_value)


def bootstrap_p_value(first: Estimate, second: Estimate) -> float:
    """Return the two-sided p-value of the difference between two systems, by bootstrap resampling.

    The p-value is the probability of a difference at least this large, in either direction, between two equally good
    systems. The resampled differences, shifted to mean zero, represent the differences that occur by chance between
    such systems (Efron & Tibshirani 1993, ch. 16). The p-value is estimated as the share of them that are at least as
    far from zero as the measured difference. One sentence cannot be resampled: its p-value is 1.
    """
    if len(first.statistics.rows) < 2:
        return 1.0
    differences = second.resampled - first.resampled
    return _share(np.abs(differences - differences.mean()) >= abs(_measured(first, second)))


def randomisation_p_value(first: Statistics, second: Statistics, trials: int = TRIALS) -> float:
    """Return the two-sided p-value of the difference between two systems, by approximate randomisation.

    The p-value is the probability of a difference at least this large if it did not matter which system produced which
    translation. Each trial swaps the two translations of every sentence with a probability of one half (Riezler &
    Maxwell 2005). The p-value is estimated as the share of trials in which the two shuffled systems differ at
    least as much as the real ones.
    """
    sums = first.rows.sum(0), second.rows.sum(0)
    apart = first.rows - second.rows
    random = np.random.default_rng(SEED)
    differences = []
    for start in range(0, trials, _BLOCK):
        kept = random.integers(2, size=(min(_BLOCK, trials - start), len(apart)), dtype=bool)
        one = sums[1] + kept @ apart  # each sentence from the first system if kept, otherwise from the second
        differences.append(first.score_totals(one) - second.score_totals(sums[0] + sums[1] - one))
    measured = first.score().score - second.score().score
    return _share(np.abs(np.concatenate(differences)) >= abs(measured))


def sacrebleu_p_value(first: Estimate, second: Estimate) -> float:
    """Return the p-value that `sacrebleu --paired-bs` prints, for comparison with papers that report it.

    sacreBLEU takes the absolute values of the differences before it shifts them to mean zero, which ignores one side of
    the distribution: if two systems are equally good, this p-value is below 0.05 about twice as often as it should be.
    """
    measured = abs(_measured(first, second))
    if measured == 0:
        return 1.0
    resampled = np.abs(second.resampled - first.resampled)
    return _share(resampled - resampled.mean() > measured)


def _measured(first: Estimate, second: Estimate) -> float:
    return second.score.score - first.score.score


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of the values, which leaves out the lowest 2.5% and the highest 2.5%."""
    ordered = np.sort(values)
    cut = len(ordered) // 40
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])


def _share(extreme: NDArray[np.bool_]) -> float:
    """Return the share of trials as extreme as the measured difference, which itself counts as one more trial."""
    return (int(extreme.sum()) + 1) / (len(extreme) + 1)
