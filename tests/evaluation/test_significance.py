"""Bootstrap resampling: the figures of `sacrebleu --paired-bs`."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.significance import Statistics, estimate, p_value, resample_counts
from tests.evaluation.runs import REFERENCES

TEXT = REFERENCES * 10
SAMPLES = 200


def damaged(share: float, seed: int) -> list[str]:
    """The references with that share of their words lost."""
    choice = random.Random(seed)
    return [" ".join(word for word in line.split() if choice.random() > share) for line in TEXT]


def test_scores_intervals_and_p_values_equal_sacrebleu() -> None:
    first, second = damaged(0.2, 1), damaged(0.24, 2)
    metrics = {"BLEU": BLEU(), "chrF2": CHRF(), "TER": TER()}
    test = PairedTest([("a", first), ("b", second)], metrics, [TEXT], test_type="bs", n_samples=SAMPLES)
    _, expected = test()
    counts = resample_counts(len(TEXT), SAMPLES)
    for name, label in zip(METRICS, metrics, strict=True):
        ours = [estimate(Statistics(name, system, TEXT), counts) for system in (first, second)]
        for one, theirs in zip(ours, expected[label], strict=True):
            low, high = one.confidence_interval
            assert one.score.score == pytest.approx(theirs.score, abs=1e-9)
            assert (high - low) / 2 == pytest.approx(theirs.ci, abs=1e-4)
            assert one.resampled.mean() == pytest.approx(theirs.mean, abs=1e-4)
        assert p_value(*ours) == pytest.approx(expected[label][1].p_value)
        assert 0.005 < p_value(*ours) < 1, "the test wants a difference that is neither certain nor absent"


def test_whole_text_scores_as_metrics_do() -> None:
    hypotheses = damaged(0.2, 3)
    expected = score(hypotheses, TEXT)
    for name in METRICS:
        assert Statistics(name, hypotheses, TEXT).score() == expected[name]


def test_subset_is_the_corpus_score_of_its_sentences() -> None:
    hypotheses = damaged(0.2, 4)
    rows = [3, 4, 11, 12]
    expected = score([hypotheses[row] for row in rows], [TEXT[row] for row in rows])
    for name in METRICS:
        assert Statistics(name, hypotheses, TEXT).score_subset(rows) == pytest.approx(expected[name].score)


def test_a_system_does_not_differ_from_itself() -> None:
    counts = resample_counts(len(TEXT), SAMPLES)
    one = estimate(Statistics("bleu", damaged(0.2, 5), TEXT), counts)
    assert p_value(one, one) == 1.0


def test_a_large_difference_is_significant_and_lies_outside_the_interval() -> None:
    counts = resample_counts(len(TEXT), SAMPLES)
    good, bad = (estimate(Statistics("bleu", damaged(share, 6), TEXT), counts) for share in (0.05, 0.5))
    assert p_value(good, bad) < 0.01
    assert good.confidence_interval[0] > bad.confidence_interval[1]


def test_resamples_draw_as_many_sentences_as_there_are() -> None:
    counts = resample_counts(50, 30)
    assert counts.shape == (30, 50)
    assert (counts.sum(1) == 50).all()
    assert (counts == resample_counts(50, 30)).all()
    assert np.unique(counts).size > 2
