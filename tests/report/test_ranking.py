"""Test that the runs of a sweep are ranked by their validations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nmt.report.ranking import Job, ranking
from tests.evaluation.runs import write_lines


def job(folder: Path, name: str, validations: list[dict[str, Any]], **end: Any) -> Job:
    events = [{"event": "validation", "step": 1, "minutes": 0.5, **validation} for validation in validations]
    write_lines(folder / name / "metrics.jsonl", [json.dumps(event) for event in events])
    write_lines(folder / name / "environment.json", [json.dumps({"parameters": 1234567})])
    return Job(name, folder / name, **end)


def order(table: str) -> list[str]:
    return [line.split()[1] for line in table.splitlines()[1:]]


@pytest.mark.parametrize(
    ("metric", "expected"), [("bleu", ["b", "c", "a"]), ("chrf", ["a", "c", "b"]), ("loss", ["c", "a", "b"])]
)
def test_runs_are_ranked_by_their_best_validation_in_the_metric_of_training(
    tmp_path: Path, metric: str, expected: list[str]
) -> None:
    figures = {"a": (10.0, 50.0, 3.0), "b": (30.5, 20.0, 4.0), "c": (30.0, 40.0, 2.0)}
    jobs = [
        job(
            tmp_path,
            name,
            [
                dict(zip(("bleu", "chrf", "loss"), scores, strict=True), ranked_by=metric),
                {"bleu": 1.0, "chrf": 1.0, "loss": 9.0, "ranked_by": metric},
            ],
        )
        for name, scores in figures.items()
    ]
    table = ranking(jobs)
    assert order(table) == expected
    assert "1,234,567" in table and "9.000" not in table, "the loss shown must be that of the best validation"


def test_ties_are_broken_by_the_loss_and_failures_come_last(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "failed", [{"bleu": 99.0, "loss": 0.1}], error="the loss is not a number"),
        job(tmp_path, "high", [{"bleu": 5.0, "loss": 3.0}]),
        job(tmp_path, "none", []),
        job(tmp_path, "low", [{"bleu": 5.0, "loss": 2.0}]),
    ]
    table = ranking(jobs)
    assert order(table) == ["low", "high", "failed", "none"]
    assert "failed (failed)" in table and "none (no validation)" in table and "99" not in table


def test_runs_that_never_translated_come_last_ordered_by_loss(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "late", [{"loss": 7.0}]),
        job(tmp_path, "early", [{"loss": 6.0}, {"loss": 6.5}]),
        job(tmp_path, "scored", [{"bleu": 0.1, "loss": 9.0}]),
    ]
    table = ranking(jobs)
    assert order(table) == ["scored", "early", "late"]
    assert "6.000" in table and "no validation" not in table
