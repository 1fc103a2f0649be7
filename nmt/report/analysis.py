"""Compute the figures of a comparison, which are the content of results.json."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

from nmt.config.languages import is_unspaced
from nmt.evaluation.buckets import bucket_scores, length_buckets, source_lengths
from nmt.evaluation.metrics import METRICS, Metric, length_ratio
from nmt.evaluation.sets import EvaluationSet
from nmt.evaluation.significance import (
    SAMPLES,
    SEED,
    TRIALS,
    Estimate,
    Method,
    Statistics,
    compare,
    estimate,
    resample_counts,
    sacrebleu_p_value,
)
from nmt.report.budgets import compare_budgets
from nmt.report.systems import System

Results = dict[str, Any]
_OF_EVALUATION = ("checkpoint", "beam_size", "length_penalty", "sentences_per_second")  # keys copied from scores.json
METHODS: dict[Method, str] = {
    "bootstrap": "paired bootstrap resampling",
    "randomisation": "approximate randomisation",
}


def analyse(
    systems: Sequence[System],
    test_set: EvaluationSet,
    languages: tuple[str, str],
    log: Callable[[str], None] = lambda line: None,
    method: Method = "bootstrap",
    metrics: Sequence[Metric] = METRICS,
) -> Results:
    """Compute scores with intervals, significance tests and BLEU by source length; the first system is the baseline."""
    counts = resample_counts(len(test_set.references))
    lengths = source_lengths(test_set.sources, languages[0])
    buckets = length_buckets(lengths)
    estimates: list[dict[str, Estimate]] = []
    entries = []
    for system in systems:
        log(f"{system.name}: scoring")
        texts = system.hypotheses, test_set.references, languages[1], test_set.more_references
        tables = {name: Statistics(name, *texts) for name in metrics}
        estimates.append({name: estimate(table, counts) for name, table in tables.items()})
        broken_down = {"length_ratio": length_ratio(*texts), "buckets": bucket_scores(tables["bleu"], buckets)}
        entries.append(_entry(system, estimates[-1]) | broken_down)
    return {
        "test_set": {
            "name": test_set.name,
            "sentences": len(test_set.references),
            "source_language": languages[0],
            "target_language": languages[1],
            "source_sha256": test_set.source_digest,
            "reference_sha256": test_set.reference_digest,
        },
        "budgets": compare_budgets(systems),
        "systems": entries,
        "significance": {
            "method": METHODS[method],
            "trials": TRIALS if method == "randomisation" else SAMPLES,  # of which the p-values are shares
            "samples": SAMPLES,  # from which the intervals are computed
            "seed": SEED,
            "baseline": systems[0].name,
            "pairs": _pairs(systems, estimates, method),
        },
        "seed_groups": seed_groups(systems, entries),
        "buckets": {
            "unit": "characters" if is_unspaced(languages[0]) else "words",
            "ranges": [{"label": bucket.label, "sentences": len(bucket.sentences)} for bucket in buckets],
        },
    }


def _entry(system: System, estimates: dict[str, Estimate]) -> Results:
    run = system.run
    return {
        "name": system.name,
        "scores": {
            name: {**value.score.to_dict(), "confidence_interval": list(value.confidence_interval)}
            for name, value in estimates.items()
        },
        "model": run.config.model.family if run is not None else None,
        "seed": run.config.seed if run is not None else None,
        "parameters": system.parameters,
        "training_minutes": system.history.minutes,
        "updates": system.history.updates,
        **{key: system.evaluation.get(key) for key in _OF_EVALUATION},
    }


def _pairs(systems: Sequence[System], estimates: Sequence[dict[str, Estimate]], method: Method) -> list[Results]:
    """Test each pair of systems, those with the baseline first; a difference is the later system minus the earlier."""
    return [
        {
            "system": systems[later].name,
            "other": systems[earlier].name,
            "baseline": earlier == 0,
            "metrics": {name: _test(estimates[earlier][name], estimates[later][name], method) for name in estimates[0]},
        }
        for earlier, later in combinations(range(len(systems)), 2)
    ]


def _test(first: Estimate, second: Estimate, method: Method) -> Results:
    entry = asdict(compare(first, second, method))
    if method == "bootstrap":
        entry["sacrebleu_p_value"] = sacrebleu_p_value(first, second)
    return entry


def seed_groups(systems: Sequence[System], entries: Sequence[Results]) -> list[Results]:
    """Return groups of runs that differ only in seed and run_dir, with mean and standard deviation of their scores.

    If several runs have the same seed, such as a run and its copy, only the first of them counts.
    """
    groups: dict[str, dict[int, Results]] = {}
    for system, entry in zip(systems, entries, strict=True):
        if system.run is not None:
            alike = repr(replace(system.run.config, seed=0, run_dir=None))
            groups.setdefault(alike, {}).setdefault(entry["seed"], entry)
    return [
        {
            "systems": [entry["name"] for entry in group],
            "seeds": [entry["seed"] for entry in group],
            "scores": {
                name: _spread([entry["scores"][name]["score"] for entry in group]) for name in group[0]["scores"]
            },
        }
        for group in (list(by_seed.values()) for by_seed in groups.values())
        if len(group) > 1
    ]


def _spread(values: Sequence[float]) -> Results:
    return {"mean": statistics.fmean(values), "standard_deviation": statistics.stdev(values)}
