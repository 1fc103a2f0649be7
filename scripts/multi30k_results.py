"""Write docs/results/multi30k.{md,json} and its pictures from the runs and the report that scripts/multi30k.sh made."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

from nmt.files import atomic_write


def main(runs: Path, output: Path, overrides: list[str]) -> None:
    report = json.loads((runs / "report" / "results.json").read_text("utf-8"))
    systems = {system["name"]: system | trained(runs / system["name"]) for system in report["systems"]}
    figures = output / "multi30k"
    figures.mkdir(parents=True, exist_ok=True)
    for picture in sorted((runs / "report" / "figures").glob("*.svg")):
        shutil.copy(picture, figures)
    found = {"overrides": overrides, "buckets": report["buckets"], "significance": report["significance"]}
    for ending, text in (
        ("json", json.dumps(found | {"systems": systems}, indent=1) + "\n"),
        ("md", page(report, systems, overrides, figures)),
    ):
        with atomic_write(output / f"multi30k.{ending}") as file:
            file.write(text)


def trained(run: Path) -> dict[str, Any]:
    """Return what the files of a run record: best validation, hardware, and the median speed of training."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    speeds = [event["target_tokens_per_second"] for event in events if event["event"] == "train"]
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    best = max(
        (event for event in events if event["event"] == "validation" and "bleu" in event),
        key=lambda event: event["bleu"],
    )
    return {
        "target_tokens_per_second": median(speeds),
        "validation_bleu": best["bleu"],
        "best_after_minutes": best["minutes"],
        "environment": {key: environment[key] for key in ("hardware", "torch", "cpu_threads", "git_commit")},
    }


def page(report: dict[str, Any], systems: dict[str, dict[str, Any]], overrides: list[str], figures: Path) -> str:
    some = next(iter(systems.values()))
    environment = some["environment"]
    lines = [
        "# How do the four architectures compare, also on long sentences?",
        "",
        "Multi30k, German to English. All four systems have one joint vocabulary of 8,000 pieces. Every choice was "
        "made on the validation set; the table shows test_2016_flickr (1,000 sentences), beam 5, cased and "
        "detokenised:",
        "",
        "| system | BLEU | 95% interval | chrF | TER | parameters | threads | minutes | target tokens/s | val BLEU |",
        "|---|" + "---:|" * 9,
    ]
    for name, system in systems.items():
        scores = system["scores"]
        low, high = scores["bleu"]["confidence_interval"]
        lines.append(
            f"| {name} | {scores['bleu']['score']:.2f} | {low:.1f}-{high:.1f} | {scores['chrf']['score']:.2f} "
            f"| {scores['ter']['score']:.2f} | {system['parameters']:,} | {system['environment']['cpu_threads']} "
            f"| {system['training_minutes']:.1f} "
            f"| {system['target_tokens_per_second']:,.0f} | {system['validation_bleu']:.2f} |"
        )
    lines += [
        "",
        f"Made on {environment['hardware']} with torch {environment['torch']}, by",
        "",
        "```",
        " ".join(["scripts/multi30k.sh FOLDER", *overrides]),
        "```",
        "",
        "which trains the presets `multi30k_*`, or continues their runs. All scores with their signatures: "
        "[multi30k.json](multi30k.json).",
        "",
    ]
    lines += ["## BLEU by source length", "", "![BLEU by source length](multi30k/length.svg)", ""]
    labels = [f"{bucket['label']} words" for bucket in report["buckets"]["ranges"]]
    lines += [f"| system | {' | '.join(labels)} |", "|---|" + "---:|" * len(labels)]
    for name, system in systems.items():
        lines.append(f"| {name} | {' | '.join(f'{score:.1f}' for score in system['buckets'])} |")
    if "rnn_encdec" in systems:
        lines += ["", "How far the fixed vector is behind each other system, in BLEU and in percent of its BLEU:", ""]
        lines += [f"| behind | overall | {' | '.join(labels)} |", "|---|---:|" + "---:|" * len(labels)]
        fixed = systems["rnn_encdec"]
        for name, system in systems.items():
            if name != "rnn_encdec":
                pairs = [
                    (system["scores"]["bleu"]["score"], fixed["scores"]["bleu"]["score"]),
                    *zip(system["buckets"], fixed["buckets"], strict=True),
                ]
                gaps = (f"{ours - theirs:.1f} ({1 - theirs / ours:.0%})" for ours, theirs in pairs)
                lines.append(f"| {name} | {' | '.join(gaps)} |")
    lines += ["", "## Validation during training", "", "![Validation](multi30k/training.svg)", "", "## Attention", ""]
    lines += [f"![{picture.stem}](multi30k/{picture.name})" for picture in sorted(figures.glob("attention-*.svg"))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
