"""Confidence intervals and significance by bootstrap resampling (Koehn 2004), as `sacrebleu --paired-bs` has them.

Each sentence's sufficient statistics are computed once; a resample is then a weighted sum of them, so that a thousand
resamples of every system and metric take seconds, and all systems are judged on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmt.evaluation.metrics import Score, build_metric

SAMPLES = 1000
SEED = 12345  # sacreBLEU's own


class Statistics:
    """The sufficient statistics of one system under one metric: any subset or resample is scored from them."""

    def __init__(
        self, metric: str, hypotheses: Sequence[str], references: Sequence[str], target_language: str = ""
    ) -> None:
        self.name = metric
        self._metric = build_metric(metric, target_language)
        rows = self._metric._extract_corpus_statistics(list(hypotheses), [list(references)])
        self.rows: NDArray[np.float64] = np.array(rows, dtype=np.float64)  # [sentences, statistics]

    def score(self) -> Score:
        """The score of the whole text: the same number as `metrics.score` gives."""
        return Score(self.name, self._score(self.rows.sum(0)), str(self._metric.get_signature()))

    def score_subset(self, sentences: Sequence[int]) -> float:
        """The corpus score of the sentences with these indices."""
        return self._score(self.rows[list(sentences)].sum(0))

    def score_resamples(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score of each resample, given how often it has each sentence: counts [samples, sentences]."""
        return np.array([self._score(total) for total in counts @ self.rows])

    def _score(self, totals: NDArray[np.float64]) -> float:
        return float(self._metric._compute_score_from_stats(list(totals)).score)


@dataclass(frozen=True)
class Estimate:
    """A score with its bootstrap distribution."""

    score: Score
    resampled: NDArray[np.float64]  # [samples]

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """The 95% interval: the resampled scores without their lowest and highest fortieth."""
        ordered = np.sort(self.resampled)
        cut = len(ordered) // 40
        return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])


def resample_counts(sentences: int, samples: int = SAMPLES, seed: int = SEED) -> NDArray[np.float64]:
    """How often each resample, drawn with replacement, has each sentence: [samples, sentences]."""
    draws = np.random.default_rng(seed).choice(sentences, size=(samples, sentences), replace=True)
    return np.stack([np.bincount(draw, minlength=sentences) for draw in draws]).astype(np.float64)


def estimate(statistics: Statistics, counts: NDArray[np.float64]) -> Estimate:
    """Score a system and resample its score; systems to be compared share `counts`."""
    return Estimate(statistics.score(), statistics.score_resamples(counts))


def p_value(first: Estimate, second: Estimate) -> float:
    """How probable a difference at least this large is if the two systems were equally good (two-sided).

    The share of resamples whose absolute difference, moved to mean zero, exceeds the difference that was measured; one
    where none was measured.
    """
    difference = abs(first.score.score - second.score.score)
    if difference == 0:
        return 1.0
    resampled = np.abs(first.resampled - second.resampled)
    exceeding = int(np.sum(resampled - resampled.mean() > difference))
    return (exceeding + 1) / (len(resampled) + 1)
