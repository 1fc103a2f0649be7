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

Rows = dict[tuple[str, int | None], dict[str, Any]]  # by system and seed
TEST = EvaluationSet("test", SOURCES * 8, REFERENCES * 8)


def damaged(share: float, seed: int) -> dict[str, Any]:
    """Return the row of a run whose translations lack this share of the words."""
    choice = random.Random(seed)
    lines = [" ".join(word for word in line.split() if choice.random() > share) for line in TEST.references]
    return {"test": {"test": {"hypotheses": lines}}}


def judged(shares: dict[str, float], seeds: int) -> dict[str, Verdict]:
    rows: Rows = {
        (system, seed): damaged(share, 100 * index + seed)
        for index, (system, share) in enumerate(shares.items())
        for seed in range(1, seeds + 1)
    }
    return compared(rows, {system: "base" for system in shares if system != "base"}, seeds)


def compared(rows: Rows, comparisons: dict[str, str], seeds: int) -> dict[str, Verdict]:
    found = verdicts(rows, comparisons, [TEST], "bleu", {"test": "en"}, seeds)
    return {verdict.system: verdict for verdict in found}


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
    rows: Rows = {("base", seed): damaged(0.3, seed) for seed in (1, 2, 3)}
    rows["all", None] = damaged(0.05, 4)
    (found,) = verdicts(rows, {"all": "base"}, [TEST], "bleu", {"test": "en"}, 3)
    assert found.one_for_all and found.seeds == [1, 2, 3]
    assert found.means.welch_p_value is None and found.means.confidence_interval is None
    assert found.word == "better"
    alone = {}
    for seed in found.seeds:
        pair = compared({("base", 1): rows["base", seed], ("all", 1): rows["all", None]}, {"all": "base"}, 1)["all"]
        alone[seed] = pair.within[1]
    assert found.within == alone
    assert found.p_value == min(1, 2 * sorted(max(pair) for pair in alone.values())[1])


def test_seeds_that_disagree_are_no_difference() -> None:
    rows: Rows = {
        ("base", 1): damaged(0.2, 1), ("base", 2): damaged(0.2, 2),
        ("other", 1): damaged(0.0, 3), ("other", 2): damaged(0.5, 4),
    }  # fmt: skip
    found = compared(rows, {"other": "base"}, 2)["other"]
    assert max(max(pair) for pair in found.within.values()) < 0.01, "each seed alone shows a difference"
    assert found.word == "no difference found"
    assert found.p_value == 1


@pytest.mark.parametrize("missing", ["base", "other"])
def test_a_system_without_a_common_seed_has_no_verdict(missing: str) -> None:
    rows: Rows = {("base", 1): damaged(0.2, 1), ("other", 1): damaged(0.3, 2)}
    del rows[missing, 1]
    assert compared(rows, {"other": "base"}, 1) == {}


def test_a_system_can_be_compared_with_another_one_than_the_baseline() -> None:
    shares = {"base": 0.05, "middle": 0.3, "low": 0.6}
    rows: Rows = {(system, 1): damaged(share, index) for index, (system, share) in enumerate(shares.items())}
    with_base = compared(rows, {"middle": "base", "low": "base"}, 1)["low"]
    with_middle = compared(rows, {"middle": "base", "low": "middle"}, 1)["low"]
    assert (with_base.against, with_middle.against) == ("base", "middle")
    assert with_base.means.difference < with_middle.means.difference < 0
    assert with_middle.to_dict()["against"] == "middle"


def test_holm_counts_the_comparisons_whose_runs_are_missing() -> None:
    rows: Rows = {("base", 1): damaged(0.3, 1), ("good", 1): damaged(0.05, 2)}
    alone = compared(rows, {"good": "base"}, 1)["good"]
    of_three = compared(rows, {"good": "base", "second": "base", "third": "base"}, 1)["good"]
    assert alone.corrected == alone.p_value
    assert of_three.corrected == pytest.approx(3 * alone.p_value)


def test_a_clear_difference_has_a_word_in_a_large_study_too() -> None:
    """The least p-value of few resamples would be above 0.05 after the correction for 60 comparisons."""
    rows: Rows = {("base", 1): damaged(0.6, 1), ("good", 1): damaged(0.02, 2)}
    comparisons = {"good": "base", **{f"other{number}": "base" for number in range(59)}}
    assert compared(rows, comparisons, 1)["good"].word == "better"


def test_one_seed_of_several_gets_no_verdict() -> None:
    rows: Rows = {("base", seed): damaged(0.3, seed) for seed in (1, 2, 3)}
    rows["good", 1] = damaged(0.02, 4)
    few = compared(rows, {"good": "base"}, 3)["good"]
    assert (few.word, few.p_value) == ("too few seeds", 1.0)
    rows["good", 2] = damaged(0.02, 5)
    assert compared(rows, {"good": "base"}, 3)["good"].word == "better"
