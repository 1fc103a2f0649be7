"""The report of a study: study.md and study.json, with conditions, tables, verdicts and the rule."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from nmt import __version__
from nmt.evaluation.buckets import bucket_scores, length_buckets, source_lengths
from nmt.evaluation.metrics import LABELS
from nmt.evaluation.over_seeds import mean_interval
from nmt.evaluation.sets import EvaluationSet
from nmt.evaluation.significance import Statistics
from nmt.files import atomic_write
from nmt.report.page import p_value, signed
from nmt.study.conduct import Outcome
from nmt.study.results import Row
from nmt.study.verdict import RULE, Verdict, verdicts

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
    judged = verdicts(outcome.rows, study.first, outcome.test_sets, study.metric, data.target_language)
    return {
        "nmt": __version__,
        "question": study.question,
        "conditions": _conditions(outcome),
        "metric": study.metric,
        "baseline": study.first,
        "test_sets": {
            test_set.name: _test_set(outcome, test_set, judged, data.source_language) for test_set in outcome.test_sets
        },
        "rule": RULE,
        "tried": {
            variant.system: [
                {
                    "values": each.values,
                    **outcome.tries[each.name]["validation"],
                    "updates": outcome.tries[each.name]["updates"],
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
    if study.budget.core_minutes is None:
        del budget["measured_seconds"]
    environments = [row["environment"] for row in outcome.rows.values()]
    return {
        "base": study.base,
        "overrides": study.overrides,
        "systems": {
            variant.system: list(outcome.chosen.get(variant.system, variant).overrides) for variant in outcome.variants
        },
        "languages": [config.data.source_language, config.data.target_language],
        "seeds": study.seeds,
        "budget": budget,
        "threads": study.threads,
        "matched": None if study.match is None else {"tolerance": study.match.tolerance},
        "tuning": None if study.tuning is None else {"by": study.tuning.by, "share": study.tuning.share},
        "search": {"beam_size": config.search.beam_size, "length_penalty": config.search.length_penalty},
        "machines": sorted({f"{each['hardware']}, torch {each['torch']}, nmt {each['nmt']}" for each in environments}),
        "speeds": {
            name: {key: value for key, value in row.items() if key not in ("config", "data")}
            for name, row in outcome.speeds.items()
        },
    }


def _test_set(
    outcome: Outcome, test_set: EvaluationSet, judged: Sequence[Verdict], source_language: str
) -> dict[str, Any]:
    metric = outcome.study.metric
    tests = {key: row["test"][test_set.name] for key, row in outcome.rows.items()}
    signatures = sorted({test[metric]["signature"] for test in tests.values()})
    buckets = length_buckets(source_lengths(test_set.sources, source_language))
    target = outcome.variants[0].config.data.target_language
    systems = {}
    for system in dict.fromkeys(system for system, _ in outcome.rows):
        own = [test for (owner, _), test in tests.items() if owner == system]
        rows = [row for (owner, _), row in outcome.rows.items() if owner == system]
        scores = [test[metric]["score"] for test in own]
        errors = [test["aer"] for test in own if test["aer"] is not None]
        texts = test_set.references, target, test_set.more_references
        tables = [Statistics(metric, test["hypotheses"], *texts) for test in own]
        by_length = [bucket_scores(table, buckets) for table in tables]
        systems[system] = {
            "scores": scores,
            "mean": fmean(scores),
            "deviation": stdev(scores) if len(scores) > 1 else None,
            "confidence_interval": mean_interval(scores),
            "aer": fmean(errors) if errors else None,
            "validation_loss": fmean([row["validation"]["loss"] for row in rows]),
            "updates": rows[0]["updates"],
            "parameters": rows[0]["environment"]["parameters"],
            "by_length": [fmean(column) for column in zip(*by_length, strict=True)],
        }
    return {
        "sentences": len(test_set.sources),
        "signature": ", ".join(signatures),
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


def markdown(found: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    conditions = found["conditions"]
    parts = [f"# {found['question'] or 'A comparison of ' + ', '.join(conditions['systems'])}"]
    if found["failures"]:
        failed = [f"- {name}: {sentence}" for name, sentence in found["failures"].items()]
        parts += ["**These runs failed, and are missing below:**", "\n".join(failed)]
    for name, test_set in found["test_sets"].items():
        parts += [f"## Results on {name}", *_results(found, test_set)]
    parts += ["## The rule", found["rule"], "## The conditions", "\n".join(_told(conditions))]
    if found["tried"]:
        parts += ["## All values that were tried", *_tried(found)]
    parts += ["## All runs", _all_runs(found)]
    return "\n\n".join(parts) + "\n"


def verdict_table(found: Mapping[str, Any], test_set: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table of systems on a test set, with their verdicts."""
    label = LABELS[found["metric"]]
    judged = {each["system"]: each for each in test_set["verdicts"]}
    with_aer = any(each["aer"] is not None for each in test_set["systems"].values())
    header = ["system", label, "±", "95% interval", *(["AER"] if with_aer else []), "val loss", "updates", "parameters"]
    header += [f"Δ {label}", "p over seeds", "p within", "p, Holm", "verdict"]
    rows = []
    for system, each in test_set["systems"].items():
        verdict = judged.get(system)
        cells = [
            system,
            f"{each['mean']:.2f}",
            "-" if each["deviation"] is None else f"{each['deviation']:.2f}",
            _interval(each["confidence_interval"]),
            *([_number(each["aer"], 3)] if with_aer else []),
            f"{each['validation_loss']:.3f}",
            f"{each['updates']:,}",
            f"{each['parameters']:,}",
        ]
        if verdict is None:
            cells += ["-", "-", "-", "-", "baseline" if system == found["baseline"] else "-"]
        else:
            over = verdict["p_over_seeds"]
            within = [max(pair.values()) for pair in verdict["p_within_seeds"].values()]
            cells += [
                signed(verdict["difference"], 2),
                "-" if over is None else p_value(over),
                " ".join(p_value(each) for each in within),
                p_value(verdict["p_holm"]),
                verdict["verdict"] + (" (one seed)" if over is None else ""),
            ]
        rows.append(cells)
    return header, rows


def _results(found: Mapping[str, Any], test_set: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of systems, what its columns mean, and the table by source length."""
    label = LABELS[found["metric"]]
    yield _table(*verdict_table(found, test_set), left=1)
    yield (
        f"{label}: mean and deviation over the seeds, on {test_set['sentences']:,} sentences "
        f"(`{test_set['signature']}`). 95% interval: of the mean, by Student's t. Δ {label}: minus that of "
        f"{found['baseline']}. p within: the larger one of both tests, for each seed."
    )
    details = []
    for each in test_set["verdicts"]:
        if each["confidence_interval"] is not None:
            details.append(
                f"- {each['system']} − {found['baseline']}: 95% interval "
                f"{_interval(each['confidence_interval'], True)}; permutation test over seeds p "
                f"{p_value(each['p_permutation'])}."
            )
    if details:
        yield "\n".join(details)
    if len(test_set["lengths"]) > 1:
        yield f"{label} by source length in words (characters, in languages without spaces), mean over the seeds:"
        rows = [
            [system, *(f"{score:.2f}" for score in each["by_length"])] for system, each in test_set["systems"].items()
        ]
        yield _table(["system", *test_set["lengths"]], rows)


def _told(conditions: Mapping[str, Any]) -> Iterable[str]:
    """Yield a line for each condition."""
    yield f"- configuration: `{conditions['base']}`" + "".join(f" `{each}`" for each in conditions["overrides"])
    for system, overrides in conditions["systems"].items():
        yield f"- {system}: " + (" ".join(f"`{each}`" for each in overrides) or "nothing changed")
    yield f"- languages: {' to '.join(conditions['languages'])}"
    yield f"- seeds: {', '.join(map(str, conditions['seeds']))}"
    budget = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in conditions["budget"].items())
    yield f"- budget of each run: {budget}; CPU threads: {conditions['threads']}"
    for name, speed in conditions["speeds"].items():
        yield f"- {name}: " + ", ".join(f"{value:.1f} {key.replace('_', ' ')}" for key, value in speed.items())
    matched = conditions["matched"]
    told = f"equal within {matched['tolerance']:.0%}" if matched else "not matched"
    yield f"- parameters: {told}"
    tuning = conditions["tuning"]
    if tuning:
        yield f"- tuning: each value for {tuning['share']:.0%} of the budget, the best by validation {tuning['by']}"
    else:
        yield "- tuning: none"
    yield "- search: " + ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in conditions["search"].items())
    for machine in conditions["machines"]:
        yield f"- machine: {machine}"


def _tried(found: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of all values that were tried."""
    rows = []
    for system, choices in found["tried"].items():
        for each in choices:
            values = " ".join(f"`{key}={value}`" for key, value in each["values"].items())
            if "failed" in each:
                rows.append([system, values, "-", "-", "-", "failed"])
                continue
            chosen = "chosen" if each["chosen"] else ""
            rows.append(
                [system, values, f"{each['loss']:.4f}", _number(each["bleu"], 2), f"{each['updates']:,}", chosen]
            )
    yield _table(["system", "values", "val loss", "val BLEU", "updates", ""], rows, left=2)


def _all_runs(found: Mapping[str, Any]) -> str:
    names = list(found["test_sets"])
    labels = [LABELS[metric] for metric in ("bleu", "chrf", "ter")]
    header = ["system", "seed", "val loss", "val BLEU", *(f"{name}: {' / '.join(labels)}" for name in names)]
    rows = []
    for run in found["runs"]:
        tests = [run["test"][name] for name in names]
        scores = [" / ".join(f"{test[metric]['score']:.2f}" for metric in ("bleu", "chrf", "ter")) for test in tests]
        validation = run["validation"]
        told = [f"{validation['loss']:.4f}", _number(validation["bleu"], 2)]
        rows.append([run["system"], str(run["seed"]), *told, *scores])
    return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table of Markdown with `left` left-aligned columns; the others are right-aligned."""
    rule = ["---" if column < left else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _interval(bounds: Sequence[float] | None, sign: bool = False) -> str:
    if bounds is None:
        return "-"
    low, high = (signed(bound, 2) if sign else f"{bound:.2f}" for bound in bounds)
    return f"{low} to {high}"


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"
