"""Write a comparison as files: index.html, which needs no other file, report.md with figures/, and results.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sacrebleu

from nmt import __version__
from nmt.config.languages import is_unspaced
from nmt.errors import Damaged, NmtError
from nmt.evaluation.metrics import LABELS
from nmt.files import atomic_write
from nmt.pictures.heatmap import to_svg
from nmt.reading import read_object
from nmt.report.analysis import METHODS
from nmt.report.attention import SentenceMaps
from nmt.report.differences import Difference
from nmt.report.heads import heads_panels, heads_rows
from nmt.report.page import environment, inline_svg, p_value, render_page, signed
from nmt.report.plots import SERIES, Line, layers_chart, length_chart, training_chart
from nmt.report.systems import System


@dataclass(frozen=True)
class Report:
    """Everything that a comparison shows."""

    results: dict[str, Any]  # the content of results.json
    systems: Sequence[System]
    maps: Sequence[SentenceMaps]
    differences: Sequence[Difference]


def check_folder(folder: Path) -> None:
    """Raise NmtError if the folder holds files of the report's names that are not of a report."""
    results = folder / "results.json"
    try:
        is_report = results.is_file() and {"systems", "significance"} <= read_object(results).keys()
    except Damaged:
        is_report = False
    names = ("results.json", "index.html", "report.md")
    if not is_report and (other := next((name for name in names if (folder / name).exists()), None)):
        raise NmtError(f"{folder / other} would be overwritten, and is no report of nmt-compare: choose another folder")


def write_report(report: Report, folder: Path) -> None:
    """Write all files of the report into `folder`; results.json comes last.

    Pictures of an earlier report there that this one does not have are deleted.
    """
    pictures = _pictures(report)
    for name in _earlier_pictures(folder) - pictures.keys():
        (folder / "figures" / f"{name}.svg").unlink(missing_ok=True)
    for name, svg in pictures.items():
        with atomic_write(folder / "figures" / f"{name}.svg") as file:
            file.write(svg)
    html = {name: inline_svg(svg, name) for name, svg in pictures.items()}
    links = {name: f"figures/{name}.svg" for name in pictures}
    with atomic_write(folder / "index.html") as file:
        file.write(render_page("index.html", **_context(report, html)))
    with atomic_write(folder / "report.md") as file:
        file.write(environment().get_template("report.md").render(**_context(report, links), version=__version__))
    with atomic_write(folder / "results.json") as file:
        file.write(json.dumps(report.results | {"figures": list(pictures)}, indent=2, ensure_ascii=False) + "\n")


def _earlier_pictures(folder: Path) -> set[str]:
    """Return the names of the pictures of an earlier report in a folder, from its results.json."""
    path = folder / "results.json"
    names = read_object(path).get("figures", []) if path.is_file() else []
    return {name for name in names if isinstance(name, str) and Path(name).name == name}


def _pictures(report: Report) -> dict[str, str]:
    """Draw all pictures; return them as SVG text by name."""
    results = report.results
    pictures = {}
    ranges = results["buckets"]["ranges"]
    lines = [Line(entry["name"], range(len(ranges)), entry["buckets"]) for entry in results["systems"]]
    if len(ranges) > 1:
        labels, counts = [entry["label"] for entry in ranges], [entry["sentences"] for entry in ranges]
        pictures["length"] = to_svg(length_chart(labels, counts, lines, results["buckets"]["unit"]))
    panels = _training_panels(report.systems)
    if panels:
        pictures["training"] = to_svg(training_chart(panels, [system.name for system in report.systems]))
    if heads := heads_panels(results["heads"]):
        pictures["heads"] = to_svg(layers_chart(heads, [entry["name"] for entry in results["systems"]]))
    for sentence in report.maps:
        for shown in sentence.maps:
            pictures[shown.name] = to_svg(shown.picture.draw(sentence.most))
    return pictures


def _training_panels(systems: Sequence[System]) -> list[tuple[str, str, list[Line]]]:
    """Return panels of validation BLEU and loss over minutes and over updates, without panels that have no points."""
    panels = []
    for key, y_title in (("bleu", "validation BLEU"), ("loss", "validation loss (nats per token)")):
        for axis, x_title in (("minutes", "minutes of training"), ("step", "updates")):
            lines = []
            for system in systems:
                points = [point for point in system.history.validations if point.get(key) is not None]
                if points:
                    lines.append(Line(system.name, [p[axis] for p in points], [p[key] for p in points]))
            if lines:
                panels.append((x_title, y_title, lines))
    return panels


def _context(report: Report, pictures: dict[str, str]) -> dict[str, Any]:
    """Return the variables of the templates; `pictures` are links or inline SVG, by the names of the pictures."""
    results = report.results
    test_set = results["test_set"]
    systems = [{**entry, "colour": index % len(SERIES) + 1} for index, entry in enumerate(results["systems"])]
    languages = f"{test_set['source_language'] or 'source'} → {test_set['target_language'] or 'target'}"
    context = {
        **results,
        "title": f"{languages}, {test_set['name']}: comparison of {len(systems)} systems",
        "languages": languages,
        "summary": _summary(results),
        "systems": systems,
        "metrics": [_metric(name, systems) for name in systems[0]["scores"]],
        "shuffled": results["significance"]["method"] == METHODS["randomisation"],
        "runs": [entry for entry in systems if entry["model"] is not None],
        "pictures": pictures,
        "maps": report.maps,
        "heads_rows": heads_rows(results["heads"]),
        "differences": report.differences,
        "joiner": "" if is_unspaced(test_set["target_language"]) else " ",
        "sacrebleu": sacrebleu.__version__,
    }
    context["sections"] = [{"id": key, "title": title} for key, title, shown in _sections(context) if shown]
    return context


def _sections(context: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        ("scores", "Scores", True),
        ("seeds", "Over seeds", context["seed_groups"]),
        ("significance", "Significance", context["significance"]["pairs"]),
        ("length", "Source length", "length" in context["pictures"]),
        ("training", "Training and speed", "training" in context["pictures"] or context["runs"]),
        ("attention", "Attention", context["maps"]),
        ("heads", "Heads", context["heads"]),
        ("differences", "Differences", context["differences"]),
    ]


def _summary(results: dict[str, Any]) -> str:
    """Return a summary of the result in one or two sentences."""
    test_set, systems = results["test_set"], results["systems"]
    text = f"{test_set['sentences']:,} sentences of {test_set['name']}."
    ranked = sorted(systems, key=lambda entry: -entry["scores"]["bleu"]["score"])
    best = ranked[0]
    text += f" {best['name']} has the highest BLEU: {best['scores']['bleu']['score']:.2f}"
    if len(ranked) == 1:
        return f"{text}."
    second = ranked[1]
    pair = next(
        pair
        for pair in results["significance"]["pairs"]
        if {pair["system"], pair["other"]} == {best["name"], second["name"]}
    )
    test = pair["metrics"]["bleu"]
    low, high = sorted(bound if pair["system"] == best["name"] else -bound for bound in test["confidence_interval"])
    verdict = "significant" if test["p_value"] < 0.05 else "not significant"
    return (
        f"{text}, {abs(test['difference']):.2f} ahead of {second['name']} (95% interval {signed(low, 2)} to "
        f"{signed(high, 2)}; {verdict}, p {p_value(test['p_value'])})."
    )


def _metric(name: str, systems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    scores = [entry["scores"][name]["score"] for entry in systems]
    return {
        "name": name,
        "label": LABELS[name],
        "arrow": "↓" if name == "ter" else "↑",
        "best": min(scores) if name == "ter" else max(scores),
        "signature": systems[0]["scores"][name]["signature"],
    }
