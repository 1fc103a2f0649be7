"""Verdicts: the words follow the printed rule, and the p-values are those of nmt-compare and of Welch and Holm."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nmt.evaluation.over_seeds import compare_means, holm
from nmt.evaluation.sets import EvaluationSet
from nmt.evaluation.significance import Statistics, bootstrap_p_value, estimate, randomisation_p_value, resample_counts
from nmt.study.verdict import Verdict, verdicts
from tests.evaluation.runs import REFERENCES, SOURCES

TEST = EvaluationSet("test", SOURCES * 8, REFERENCES * 8)


def damaged(share: float, seed: int) -> dict[str, Any]:
    """Return the row of a run whose translations lack this share of the words."""
    choice = random.Random(seed)
    lines = [" ".join(word for word in line.split() if choice.random() > share) for line in TEST.references]
    return {"test": {"test": {"hypotheses": lines}}}


def judged(shares: dict[str, float], seeds: int) -> dict[str, Verdict]:
    rows = {
        (system, seed): damaged(share, 100 * index + seed)
        for index, (system, share) in enumerate(shares.items())
        for seed in range(1, seeds + 1)
    }
    return {verdict.system: verdict for verdict in verdicts(rows, "base", [TEST], "bleu", "en")}


def test_clear_differences_have_words_and_small_ones_do_not() -> None:
    found = judged({"base": 0.3, "good": 0.05, "bad": 0.6, "same": 0.3}, seeds=3)
    assert {name: verdict.word for name, verdict in found.items()} == {
        "good": "better",
        "bad": "worse",
        "same": "no difference found",
    }
    assert [found[name].corrected for name in found] == holm([found[name].p_value for name in found])


def test_p_values_are_those_of_the_tests_that_are_named() -> None:
    shares = {"base": 0.3, "other": 0.25}
    found = judged(shares, seeds=3)["other"]
    counts = resample_counts(len(TEST.references))
    estimates = {
        (system, seed): estimate(
            Statistics("bleu", damaged(share, 100 * index + seed)["test"]["test"]["hypotheses"], TEST.references),
            counts,
        )
        for index, (system, share) in enumerate(shares.items())
        for seed in (1, 2, 3)
    }
    scores = [[estimates[system, seed].score.score for seed in (1, 2, 3)] for system in shares]
    assert found.means == compare_means(*scores)
    larger = []
    for seed in (1, 2, 3):
        first, second = estimates["base", seed], estimates["other", seed]
        pair = bootstrap_p_value(first, second), randomisation_p_value(first.statistics, second.statistics)
        assert found.within[seed] == pair
        higher = second.score.score > first.score.score
        larger.append(max(pair) if higher == (found.means.difference > 0) else 1.0)
    assert found.p_value == max(min(1, 2 * sorted(larger)[1]), found.means.welch_p_value or 0)


def test_one_seed_is_judged_by_its_sentences() -> None:
    found = judged({"base": 0.4, "good": 0.05}, seeds=1)["good"]
    assert found.means.welch_p_value is None
    assert found.word == "better"
    assert found.p_value == max(found.within[1])


def test_one_result_for_all_seeds_is_compared_within_each_seed_alone() -> None:
    rows: dict[tuple[str, int | None], dict[str, Any]] = {("base", seed): damaged(0.3, seed) for seed in (1, 2, 3)}
    rows["all", None] = damaged(0.05, 4)
    (found,) = verdicts(rows, "base", [TEST], "bleu", "en")
    assert found.one_for_all and found.seeds == [1, 2, 3]
    assert found.means.welch_p_value is None and found.means.confidence_interval is None
    assert found.word == "better"
    alone = {}
    for seed in found.seeds:
        (pair,) = verdicts(
            {("base", 1): rows["base", seed], ("all", 1): rows["all", None]}, "base", [TEST], "bleu", "en"
        )
        alone[seed] = pair.within[1]
    assert found.within == alone
    assert found.p_value == min(1, 2 * sorted(max(pair) for pair in alone.values())[1])


def test_seeds_that_disagree_are_no_difference() -> None:
    rows = {
        ("base", 1): damaged(0.2, 1), ("base", 2): damaged(0.2, 2),
        ("other", 1): damaged(0.0, 3), ("other", 2): damaged(0.5, 4),
    }  # fmt: skip
    (found,) = verdicts(rows, "base", [TEST], "bleu", "en")
    assert max(max(pair) for pair in found.within.values()) < 0.01, "each seed alone shows a difference"
    assert found.word == "no difference found"
    assert found.p_value == 1


@pytest.mark.parametrize("missing", ["base", "other"])
def test_a_system_without_a_common_seed_has_no_verdict(missing: str) -> None:
    rows = {("base", 1): damaged(0.2, 1), ("other", 1): damaged(0.3, 2)}
    del rows[missing, 1]
    assert verdicts(rows, "base", [TEST], "bleu", "en") == []
