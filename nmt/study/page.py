"""The report of a study as Markdown: tables of systems with their verdicts, the rule, the conditions and all runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from nmt.evaluation.metrics import LABELS
from nmt.report.page import p_value, signed
from nmt.study.ensembles import told_members


def markdown(found: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    conditions = found["conditions"]
    parts = [f"# {found['question'] or 'A comparison of ' + ', '.join(conditions['systems'])}"]
    if found["failures"]:
        failed = [f"- {name}: {sentence}" for name, sentence in found["failures"].items()]
        parts += ["**These runs are missing below:**", "\n".join(failed)]
    for name, test_set in found["test_sets"].items():
        parts += [f"## Results on {name}", *_results(found, test_set)]
    parts += [
        "## The rule",
        found["rule"],
        "## The conditions",
        "\n".join(_wrapped(line, "  ") for line in _told(conditions)),
    ]
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
            _number(each["validation_loss"], 3),
            "-" if each["updates"] is None else f"{each['updates']:,}",
            f"{each['parameters']:,}",
        ]
        if verdict is None:
            cells += ["-", "-", "-", "-", "baseline" if system == found["baseline"] else "-"]
        else:
            over = verdict["p_over_seeds"]
            other = "" if verdict["against"] == found["baseline"] else f" ({verdict['against']})"
            within = [max(pair.values()) for pair in verdict["p_within_seeds"].values()]
            cells += [
                signed(verdict["difference"], 2) + other,
                "-" if over is None else p_value(over),
                " ".join(p_value(each) for each in within),
                p_value(verdict["p_holm"]),
                verdict["verdict"] + _basis(verdict),
            ]
        rows.append(cells)
    return header, rows


def _basis(verdict: Mapping[str, Any]) -> str:
    """Return what is to be said if no test over seeds was made."""
    if verdict["one_for_all_seeds"]:
        return " (one result for all seeds)"
    if verdict["verdict"] == "too few seeds":
        return ""
    return " (one seed)" if verdict["p_over_seeds"] is None else ""


def _results(found: Mapping[str, Any], test_set: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of systems, what its columns mean, and the table by source length."""
    label = LABELS[found["metric"]]
    named = any(each["against"] != found["baseline"] for each in test_set["verdicts"])
    others = ", or of the system in brackets" if named else ""
    yield _table(*verdict_table(found, test_set), left=1)
    yield _wrapped(
        f"{label}: mean and deviation over the seeds, on {test_set['sentences']:,} sentences "
        f"(`{test_set['signature']}`). 95% interval: of the mean, by Student's t. Δ {label}: minus that of "
        f"{found['baseline']}{others}. p within: the larger one of both tests, for each seed."
    )
    details = []
    for each in test_set["verdicts"]:
        if each["confidence_interval"] is not None:
            details.append(
                f"- {each['system']} − {each['against']}: 95% interval "
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


def _wrapped(text: str, indent: str = "") -> str:
    """Break a text into lines of at most 100 characters; all but the first are indented."""
    return "\n".join(wrap(text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))


def _told(conditions: Mapping[str, Any]) -> Iterable[str]:
    """Yield a line for each condition."""
    yield f"- configuration: `{conditions['base']}`" + "".join(f" `{each}`" for each in conditions["overrides"])
    for system, overrides in conditions["systems"].items():
        yield f"- {system}: " + (" ".join(f"`{each}`" for each in overrides) or "nothing changed")
    for name, members in conditions["ensembles"].items():
        yield f"- {name}: {told_members(members)}"
    yield f"- languages: {' to '.join(conditions['languages'])}"
    yield f"- seeds: {', '.join(map(str, conditions['seeds']))}"
    budget = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in conditions["budget"].items())
    yield f"- budget of each run: {budget}; CPU threads: {conditions['threads']}"
    for name, speed in conditions["speeds"].items():
        yield f"- {name}: {_speed(speed)}"
    machines = {name: speed["machine"] for name, speed in conditions["speeds"].items() if "machine" in speed}
    if len(set(machines.values())) > 1:
        told = "; ".join(f"{name}: {machine}" for name, machine in machines.items())
        yield f"- these speeds are of different machines or versions, so the budgets are not equal: {told}"
    matched = conditions["matched"]
    told = f"equal within {100 * matched['tolerance']:g}%" if matched else "not matched"
    yield f"- parameters: {told}"
    tuning = conditions["tuning"]
    if tuning:
        share = f"{100 * tuning['share']:g}%"
        yield f"- tuning: each value for {share} of the budget, the best by validation {tuning['by']}"
    else:
        yield "- tuning: none"
    yield "- search: " + ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in conditions["search"].items())
    for machine in conditions["machines"]:
        yield f"- machine: {machine}"


def _speed(row: Mapping[str, Any]) -> str:
    if "updates_per_minute" not in row:
        return f"{row['target_tokens_per_update']:.1f} target tokens per update"
    seconds = f", measured for {row['measured_seconds']:g} seconds" if "measured_seconds" in row else ""
    return f"{row['updates_per_minute']:.1f} updates per minute{seconds}"


def _tried(found: Mapping[str, Any]) -> Iterable[str]:
    """Yield the table of all values that were tried."""
    rows = []
    for system, choices in found["tried"].items():
        for each in choices:
            values = " ".join(f"`{key}={value}`" for key, value in each["values"].items())
            if "failed" in each:
                rows.append([system, values, "-", "-", "-", "failed"])
                continue
            note = "diverged" if each["diverged"] else "chosen" if each["chosen"] else ""
            rows.append(
                [system, values, _number(each["loss"], 4), _number(each["bleu"], 2), f"{each['updates']:,}", note]
            )
    yield _table(["system", "values", "val loss", "val BLEU", "updates", ""], rows, left=2)


def _all_runs(found: Mapping[str, Any]) -> str:
    names = list(found["test_sets"])
    metrics = found["metrics"]
    labels = [LABELS[metric] for metric in metrics]
    header = ["system", "seed", "val loss", "val BLEU", *(f"{name}: {' / '.join(labels)}" for name in names)]
    rows = []
    for run in found["runs"]:
        tests = [run["test"][name] for name in names]
        scores = [" / ".join(f"{test[metric]['score']:.2f}" for metric in metrics) for test in tests]
        validation = run["validation"] or {"loss": None, "bleu": None}
        told = [_number(validation["loss"], 4), _number(validation["bleu"], 2)]
        rows.append([run["system"], "all" if run["seed"] is None else str(run["seed"]), *told, *scores])
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
