"""Tests of significance: resamples and shuffles equal those of `sacrebleu`, and p-values have the right error rate."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.significance import (
    Estimate,
    Method,
    Statistics,
    bootstrap_p_value,
    compare,
    estimate,
    randomisation_p_value,
    resample_counts,
    sacrebleu_p_value,
)
from tests.evaluation.runs import REFERENCES

TEXT = REFERENCES * 10
SAMPLES = 200
SACREBLEU = {"BLEU": BLEU(), "chrF2": CHRF(), "TER": TER()}
NULL_TRIALS, NULL_SAMPLES, NULL_SENTENCES = 1000, 199, 240


def damaged(share: float, seed: int) -> list[str]:
    """Return the references with this share of their words removed at random."""
    choice = random.Random(seed)
    return [" ".join(word for word in line.split() if choice.random() > share) for line in TEXT]


def estimates(metric: str, *systems: list[str]) -> list[Estimate]:
    counts = resample_counts(len(TEXT), SAMPLES)
    return [estimate(Statistics(metric, system, TEXT), counts) for system in systems]


def test_scores_intervals_and_the_named_p_value_equal_sacrebleu() -> None:
    first, second = damaged(0.2, 1), damaged(0.24, 2)
    test = PairedTest([("a", first), ("b", second)], SACREBLEU, [TEXT], test_type="bs", n_samples=SAMPLES)
    _, expected = test()
    for name, label in zip(METRICS, SACREBLEU, strict=True):
        ours = estimates(name, first, second)
        for one, theirs in zip(ours, expected[label], strict=True):
            low, high = one.confidence_interval
            assert one.score.score == pytest.approx(theirs.score, abs=1e-9)
            assert (high - low) / 2 == pytest.approx(theirs.ci, abs=1e-4)
            assert one.resampled.mean() == pytest.approx(theirs.mean, abs=1e-4)
        assert sacrebleu_p_value(*ours) == pytest.approx(expected[label][1].p_value)
        assert 0.005 < sacrebleu_p_value(*ours) < 1, "the test wants a difference that is neither certain nor absent"


def test_approximate_randomisation_equals_sacrebleu() -> None:
    first, second = damaged(0.2, 1), damaged(0.24, 2)
    trials = 1000  # several blocks, the last one not full
    test = PairedTest([("a", first), ("b", second)], SACREBLEU, [TEXT], test_type="ar", n_samples=trials)
    _, expected = test()
    for name, label in zip(METRICS, SACREBLEU, strict=True):
        ours = randomisation_p_value(*(Statistics(name, system, TEXT) for system in (first, second)), trials)
        theirs = expected[label][1].p_value
        if name == "ter":  # with few edits many differences are equal, and sacreBLEU only counts larger ones
            assert 0.005 < theirs <= ours < 1
        else:
            assert ours == pytest.approx(theirs) and 0.005 < ours < 1


def test_the_bootstrap_counts_both_sides_of_a_centred_distribution() -> None:
    ours = estimates("bleu", damaged(0.2, 1), damaged(0.24, 2))
    apart = [b - a for a, b in zip(ours[0].resampled, ours[1].resampled, strict=True)]
    centre = sum(apart) / SAMPLES
    measured = ours[1].score.score - ours[0].score.score
    above = sum(value - centre >= abs(measured) for value in apart)
    below = sum(value - centre <= -abs(measured) for value in apart)
    assert min(above, below) > 0, "the test wants both sides"
    assert bootstrap_p_value(*ours) == (above + below + 1) / (SAMPLES + 1)


@pytest.fixture(scope="module")
def two_systems() -> list[NDArray[np.float64]]:
    """Return the statistics of two systems, of which the second is much better."""
    lines = [line for line in TEXT for _ in range(NULL_SENTENCES // len(TEXT))]
    choice = random.Random(7)
    texts = [
        [" ".join(word for word in line.split() if choice.random() > share) for line in lines] for share in (0.3, 0.2)
    ]
    return [Statistics("bleu", text, lines).rows for text in texts]


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_equally_good_systems_differ_by_chance_as_often_as_p_says(
    method: Method, two_systems: list[NDArray[np.float64]]
) -> None:
    """The null hypothesis is true here, because the two outputs are assigned to the systems at random per sentence."""
    choice = np.random.default_rng(3)
    counts = resample_counts(NULL_SENTENCES, NULL_SAMPLES)
    one, two = (Statistics("bleu", REFERENCES, REFERENCES) for _ in range(2))
    below = 0
    for _ in range(NULL_TRIALS):
        swapped = choice.integers(2, size=(NULL_SENTENCES, 1), dtype=bool)
        one.rows, two.rows = (np.where(swapped == side, *two_systems) for side in (True, False))
        if method == "bootstrap":
            below += bootstrap_p_value(estimate(one, counts), estimate(two, counts)) < 0.05
        else:
            below += randomisation_p_value(one, two, NULL_SAMPLES) < 0.05
    assert 0.03 <= below / NULL_TRIALS <= 0.07


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_a_system_does_not_differ_from_itself(method: Method) -> None:
    (one,) = estimates("bleu", damaged(0.2, 5))
    same = compare(one, one, method, trials=SAMPLES)
    assert same.p_value == 1.0 and same.difference == 0 and same.confidence_interval == (0, 0)


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_a_large_difference_is_significant_and_its_interval_lies_on_its_side(method: Method) -> None:
    good, bad = estimates("bleu", damaged(0.05, 6), damaged(0.5, 6))
    worse, better = compare(good, bad, method, SAMPLES), compare(bad, good, method, SAMPLES)
    assert worse.p_value == better.p_value < 0.01
    assert worse.confidence_interval[0] < worse.difference < worse.confidence_interval[1] < 0
    assert better.difference == -worse.difference
    assert better.confidence_interval == tuple(-bound for bound in reversed(worse.confidence_interval))
    assert good.confidence_interval[0] > bad.confidence_interval[1]


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


def test_resamples_draw_as_many_sentences_as_there_are() -> None:
    counts = resample_counts(50, 30)
    assert counts.shape == (30, 50)
    assert (counts.sum(1) == 50).all()
    assert (counts == resample_counts(50, 30)).all()
    assert np.unique(counts).size > 2
