"""Rank the runs of a sweep by their best validation scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt.evaluation.metrics import LABELS
from nmt.report.systems import History, read_history
from nmt.report.table import format_table
from nmt.runs.environment import read_environment


@dataclass(frozen=True)
class Job:
    """One run of a sweep, after its training."""

    varied: str  # the overrides that differ between the runs
    run_dir: Path
    error: str | None = None  # why the run failed; None: it did not


def ranking(jobs: Sequence[Job]) -> str:
    """Return a table of runs with the score and loss of their best validations, the best run first, failed runs last.

    The score is training.best_metric, which also ranks checkpoints. The lower loss decides on a tie, and between
    validations that only computed the loss and did not translate.
    """
    histories = {job: read_history(job.run_dir / "metrics.jsonl") for job in jobs if job.error is None}
    metric = next((_metric(history) for history in histories.values() if history.validations), "bleu")
    best = {job: _best(history, metric) for job, history in histories.items()}
    ranked = sorted((job for job in histories if best[job]), key=lambda job: _order(best[job], metric))
    scored = [] if metric == "loss" else [metric]
    header = ["", "run", *(f"best {LABELS[name]}" for name in scored), "loss", "updates", "minutes", "parameters"]
    rows = []
    for place, job in enumerate(ranked, start=1):
        scores = [_shown(best[job].get(name), ".2f") for name in scored]
        spent = [_shown(histories[job].updates, ","), _shown(histories[job].minutes, ".1f")]
        parameters = _shown(read_environment(job.run_dir).get("parameters"), ",")
        rows.append([str(place), job.varied, *scores, _shown(best[job].get("loss"), ".3f"), *spent, parameters])
    for job in jobs:
        if job not in ranked:
            told = f"{job.varied} ({'failed' if job.error else 'no validation'})"
            rows.append(["-", told, *["-"] * (len(header) - 2)])
    return format_table(header, rows, left=2)


def _metric(history: History) -> str:
    return str(history.validations[-1].get("ranked_by", "bleu"))


def _best(history: History, metric: str) -> Mapping[str, Any]:
    """Return the record of the best validation, empty if there is none."""
    return min(history.validations, key=lambda entry: _order(entry, metric), default={})


def _order(entry: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Return a sort key of a validation, smaller for a better one."""
    loss = float("inf") if entry.get("loss") is None else float(entry["loss"])
    if metric == "loss":
        return (loss, loss)
    return (float("inf") if entry.get(metric) is None else -float(entry[metric]), loss)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
