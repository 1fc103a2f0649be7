"""Train single systems for quality on Multi30k, an hour each, side by side, and renew docs/results/quality_multi30k.*.

usage: python scripts/quality_multi30k.py FOLDER [key=value ...]

FOLDER has {train,val,test_2016_flickr}.{de,en}. The systems are the presets `quality_multi30k_*`, one for each
direction. Runs that are there already are used.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from multi30k_results import trained
from train_side_by_side import main as train_side_by_side

from nmt.config.load import load_config

PRESETS = {"German to English": "quality_multi30k_de_en", "English to German": "quality_multi30k_en_de"}
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
TEST = "test_2016_flickr"
METRICS = ("bleu", "chrf", "ter")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, *overrides = sys.argv[1:]
    if status := train_side_by_side([*PRESETS.values(), f"data.path={folder}", *overrides]):
        sys.exit(status)
    systems = {name: figures(preset) for name, preset in PRESETS.items()}
    (RESULTS / "quality_multi30k.json").write_text(
        json.dumps({"overrides": overrides, "systems": systems}, indent=1) + "\n", "utf-8"
    )
    (RESULTS / "quality_multi30k.md").write_text(page(systems, overrides), "utf-8")


def figures(preset: str) -> dict[str, Any]:
    """The test scores of a preset's run, and what its records say."""
    run_dir = Path(str(load_config(preset).run_dir))
    scores = run_dir / "evaluations" / TEST / "scores.json"
    if not scores.is_file():
        subprocess.run([Path(sys.executable).with_name("nmt-evaluate"), run_dir, "--test-set", TEST], check=True)
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    curve = [(event["minutes"], event["bleu"]) for event in events if event["event"] == "validation"]
    environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
    return {
        "preset": preset,
        "scores": json.loads(scores.read_text("utf-8")),
        "parameters": environment["parameters"],
        "validations": curve,
        **trained(run_dir),
    }


def page(systems: dict[str, dict[str, Any]], overrides: list[str]) -> str:
    some = next(iter(systems.values()))
    environment = some["environment"]
    lines = [
        "# Multi30k: single systems of an hour",
        "",
        f"`{' '.join(['python scripts/quality_multi30k.py FOLDER', *overrides])}` trains both side by side, on "
        f"{environment['hardware']}, {environment['cpu_threads']} thread(s) each, torch {environment['torch']}. Every "
        f"choice was made on val; BLEU is cased and detokenised, on {TEST} (1,000 sentences), beam 5. "
        "Figures: [quality_multi30k.json](quality_multi30k.json).",
        "",
        "| direction | preset | BLEU | chrF | TER | parameters | best after minutes | target tokens/s | val BLEU |",
        "|---|---|" + "---:|" * 7,
    ]
    for name, system in systems.items():
        bleu, chrf, ter = (f"{system['scores'][metric]['score']:.2f}" for metric in METRICS)
        lines.append(
            f"| {name} | `{system['preset']}` | {bleu} | {chrf} | {ter} | {system['parameters']:,} "
            f"| {system['best_after_minutes']:.1f} | {system['target_tokens_per_second']:,.0f} "
            f"| {system['validation_bleu']:.2f} |"
        )
    lines += ["", *(f"- {metric}: `{some['scores'][metric]['signature']}`" for metric in METRICS), ""]
    lines += ["BLEU on val in the course of training:", "", "| minutes | " + " | ".join(systems) + " |"]
    lines.append("|---:|" + "---:|" * len(systems))
    for minutes in range(10, 61, 10):
        reached = [best_by(system["validations"], minutes) for system in systems.values()]
        lines.append(f"| {minutes} | " + " | ".join(reached) + " |")
    return "\n".join(lines) + "\n"


def best_by(validations: list[tuple[float, float]], minutes: float) -> str:
    """The best score of the validations up to a time."""
    return f"{max((bleu for at, bleu in validations if at <= minutes + 0.5), default=0.0):.2f}"


if __name__ == "__main__":
    main()
