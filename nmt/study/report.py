"""The report of a study: study.md and study.json, with conditions, tables, verdicts and the rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from nmt import __version__
from nmt.evaluation.buckets import bucket_scores, length_buckets, source_lengths
from nmt.evaluation.over_seeds import mean_interval
from nmt.evaluation.sets import EvaluationSet
from nmt.evaluation.significance import Statistics
from nmt.evaluation.tagged import target_language
from nmt.files import atomic_write
from nmt.study.conduct import Outcome
from nmt.study.page import markdown
from nmt.study.results import Row
from nmt.study.verdict import RULE, Verdict, verdicts
from nmt.study.work import machine_of

MARKDOWN, FIGURES = "study.md", "study.json"


def write_report(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Write study.md and study.json into `folder`, and return the content of the latter."""
    found = figures(outcome)
    with atomic_write(folder / MARKDOWN) as file:
        file.write(markdown(found))
    with atomic_write(folder / FIGURES) as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return found


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return all figures of the report, without the translations."""
    study, data = outcome.study, outcome.variants[0].config.data
    languages = {each.name: target_language(data, each.tags or [None]) for each in outcome.test_sets}
    conditions = outcome.rows, study.comparisons, outcome.test_sets, study.metric, languages
    judged = verdicts(*conditions, seeds=len(study.seeds))
    return {
        "nmt": __version__,
        "question": study.question,
        "conditions": _conditions(outcome),
        "metric": study.metric,
        "metrics": study.metrics,
        "baseline": study.first,
        "test_sets": {
            each.name: _test_set(outcome, each, judged, (data.source_language, languages[each.name]))
            for each in outcome.test_sets
        },
        "rule": RULE,
        "tried": {
            variant.system: [
                {
                    "values": each.values,
                    **outcome.tries[each.name]["validation"],
                    "updates": outcome.tries[each.name]["updates"],
                    "diverged": "diverged" in outcome.tries[each.name],
                    "chosen": outcome.chosen.get(variant.system) == each,
                }
                if each.name in outcome.tries
                else {"values": each.values, "failed": outcome.failures.get(each.name)}
                for each in outcome.variants
                if each.system == variant.system
            ]
            for variant in outcome.variants
            if variant.number is not None
        },
        "runs": [_run(row) for row in outcome.rows.values()],
        "failures": outcome.failures,
    }


def _conditions(outcome: Outcome) -> dict[str, Any]:
    """Return what was the same for all systems, and the overrides by which they differ."""
    study, config = outcome.study, outcome.variants[0].config
    budget = {name: value for name, value in vars(study.budget).items() if value is not None}
    del budget["measured_seconds"]  # that of each speed is told with it
    environments = [row["environment"] for row in outcome.rows.values()]
    return {
        "base": study.base,
        "overrides": study.overrides,
        "systems": {
            variant.system: list(outcome.chosen.get(variant.system, variant).overrides) for variant in outcome.variants
        },
        "ensembles": study.ensembles,
        "languages": [config.data.source_language, config.data.target_language],
        "seeds": study.seeds,
        "budget": budget,
        "threads": study.threads,
        "matched": None if study.match is None else {"tolerance": study.match.tolerance},
        "tuning": None if study.tuning is None else {"by": study.tuning.by, "share": study.tuning.share},
        "search": {"beam_size": config.search.beam_size, "length_penalty": config.search.length_penalty},
        "machines": sorted(set(map(machine_of, environments))),
        "speeds": {
            name: {key: value for key, value in row.items() if key not in ("config", "data")}
            for name, row in outcome.speeds.items()
        },
    }


def _test_set(
    outcome: Outcome, test_set: EvaluationSet, judged: Sequence[Verdict], languages: tuple[str, str]
) -> dict[str, Any]:
    metric = outcome.study.metric
    tests = {key: row["test"][test_set.name] for key, row in outcome.rows.items()}
    buckets = length_buckets(source_lengths(test_set.sources, languages[0]))
    systems, signatures = {}, set()
    for system in dict.fromkeys(system for system, _ in outcome.rows):
        own = [test for (owner, _), test in tests.items() if owner == system]
        rows = [row for (owner, _), row in outcome.rows.items() if owner == system]
        ensemble = system in outcome.study.ensembles
        errors = [test["aer"] for test in own if test["aer"] is not None]
        texts = test_set.references, languages[1], test_set.more_references
        tables = [Statistics(metric, test["hypotheses"], *texts) for test in own]
        of_seeds = [table.score() for table in tables]
        scores = [each.score for each in of_seeds]
        signatures |= {each.signature for each in of_seeds}
        by_length = [bucket_scores(table, buckets) for table in tables]
        systems[system] = {
            "scores": scores,
            "mean": fmean(scores),
            "deviation": stdev(scores) if len(scores) > 1 else None,
            "confidence_interval": mean_interval(scores),
            "aer": fmean(errors) if errors else None,
            "validation_loss": None if ensemble else fmean([row["validation"]["loss"] for row in rows]),
            "updates": rows[0]["updates"],
            "parameters": rows[0]["environment"]["parameters"],
            "by_length": [fmean(column) for column in zip(*by_length, strict=True)],
        }
    return {
        "sentences": len(test_set.sources),
        "signature": ", ".join(sorted(signatures)),
        "lengths": [bucket.label for bucket in buckets],
        "systems": systems,
        "verdicts": [each.to_dict() for each in judged if each.test_set == test_set.name],
    }


def _run(row: Row) -> dict[str, Any]:
    """Return the figures of a run without its configuration and its translations."""
    tests = {
        name: {key: value for key, value in test.items() if key != "hypotheses"} for name, test in row["test"].items()
    }
    return {key: value for key, value in row.items() if key not in ("config", "data")} | {"test": tests}
