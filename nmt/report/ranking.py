"""The runs of a sweep in the order of their best validation scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt.evaluation.metrics import LABELS
from nmt.report.systems import History, read_environment, read_history
from nmt.report.table import format_table


@dataclass(frozen=True)
class Job:
    """One run of a sweep, after its training."""

    varied: str  # the overrides that tell it from the others
    run_dir: Path
    error: str | None = None  # why it failed


def ranking(jobs: Sequence[Job]) -> str:
    """Return a table of runs, the best validation first, with the loss of that validation; failed runs come last.

    The score is what checkpoints were ranked by: training.best_metric. Of equal scores, and where nothing has been
    translated yet, the lower loss is the better.
    """
    histories = {job: read_history(job.run_dir / "metrics.jsonl") for job in jobs if job.error is None}
    metric = next((_metric(history) for history in histories.values() if history.validations), "bleu")
    best = {job: _best(history, metric) for job, history in histories.items()}
    ranked = sorted((job for job in histories if best[job]), key=lambda job: _order(best[job], metric))
    header = ["", "run", *([] if metric == "loss" else [f"best {LABELS[metric]}"]), "loss", "updates", "minutes"]
    rows = [
        [str(place), job.varied, *_figures(best[job], metric), *_spent(job, histories[job])]
        for place, job in enumerate(ranked, start=1)
    ]
    others = [job for job in jobs if job not in ranked]
    dashes = ["-"] * (len(header) - 1)
    rows += [["-", f"{job.varied} ({'failed' if job.error else 'no validation'})", *dashes[1:], "-"] for job in others]
    return format_table([*header, "parameters"], rows, left=2)


def _metric(history: History) -> str:
    return str(history.validations[-1].get("ranked_by", "bleu"))


def _best(history: History, metric: str) -> Mapping[str, Any]:
    """The best validation; nothing where there is none."""
    return min(history.validations, key=lambda entry: _order(entry, metric), default={})


def _order(entry: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """What is smaller the better a validation is."""
    loss = float("inf") if entry.get("loss") is None else float(entry["loss"])
    if metric == "loss":
        return (loss, loss)
    return (float("inf") if entry.get(metric) is None else -float(entry[metric]), loss)


def _figures(entry: Mapping[str, Any], metric: str) -> list[str]:
    loss = "-" if entry.get("loss") is None else f"{entry['loss']:.3f}"
    score = "-" if entry.get(metric) is None else f"{entry[metric]:.2f}"
    return [loss] if metric == "loss" else [score, loss]


def _spent(job: Job, history: History) -> list[str]:
    parameters = read_environment(job.run_dir).get("parameters")
    return [
        "-" if history.updates is None else f"{history.updates:,}",
        "-" if history.minutes is None else f"{history.minutes:.1f}",
        "-" if parameters is None else f"{parameters:,}",
    ]
