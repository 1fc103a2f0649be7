"""What scripts/quality_*.py share: presets trained side by side, their test scores, a page of results."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multi30k_results import trained
from train_side_by_side import main as train_side_by_side
from train_side_by_side import overrides_of

from nmt.config.load import load_config
from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
METRICS = ("bleu", "chrf", "ter")


@dataclass(frozen=True)
class System:
    """A preset and the test sets that it is scored on, by name and in words."""

    preset: str
    tests: dict[str, str]


@dataclass(frozen=True)
class Quality:
    """Single systems, trained at the same time, and the page about them."""

    name: str  # of the page and of its figures
    title: str
    command: str
    systems: dict[str, System]
    minutes: list[int]  # at which validation scores are shown
    remarks: str = ""  # in Markdown, after the figures

    def run(self, overrides: list[str]) -> None:
        """Train, or go on with, all systems; score them; write the page and its figures."""
        presets = [system.preset for system in self.systems.values()]
        if status := train_side_by_side([*presets, *overrides]):
            sys.exit(status)
        told = overrides_of(len(presets), overrides)
        self.write({name: figures(system, told) for name, system in self.systems.items()})

    def write(self, found: dict[str, dict[str, Any]]) -> None:
        """Write the page and its figures."""
        for ending, text in (
            ("json", json.dumps({"command": self.command, "systems": found}, indent=1) + "\n"),
            ("md", self.page(found)),
        ):
            with atomic_write(RESULTS / f"{self.name}.{ending}") as file:
                file.write(text)

    def page(self, found: dict[str, dict[str, Any]]) -> str:
        """The page, in Markdown."""
        some = next(iter(found.values()))
        environment, scores = some["environment"], next(iter(some["scores"].values()))
        lines = [
            f"# {self.title}",
            "",
            f"`{self.command}` trains all side by side, on {environment['hardware']}, {environment['cpu_threads']} "
            f"thread(s) each, torch {environment['torch']}. Every choice was made on validation text; BLEU is cased "
            f"and detokenised, beam 5. Figures: [{self.name}.json]({self.name}.json).",
            "",
            "| system | preset | test set | BLEU | chrF | TER | parameters | best after minutes "
            "| target tokens/s | val BLEU |",
            "|---|---|---|" + "---:|" * 7,
        ]
        for name, system in found.items():
            lines += [self.row(name, system, test) for test in system["scores"]]
        lines += ["", *(f"- {metric}: `{scores[metric]['signature']}`" for metric in METRICS), ""]
        lines += ["BLEU on validation text in the course of training:", "", "| minutes | " + " | ".join(found) + " |"]
        lines.append("|---:|" + "---:|" * len(found))
        for minutes in self.minutes:
            reached = [best_by(system["validations"], minutes) for system in found.values()]
            lines.append(f"| {minutes} | " + " | ".join(reached) + " |")
        lines += ["", "Perplexity at the best validation, in training (with dropout) and on validation text:", ""]
        for name, system in found.items():
            training, validation = (f"{system['perplexities'][text]:.1f}" for text in ("training", "validation"))
            lines.append(f"- {name}: {training} and {validation}, after {system['updates']:,} updates")
        return "\n".join([*lines, *(["", self.remarks] if self.remarks else [])]) + "\n"

    def row(self, name: str, system: dict[str, Any], test: str) -> str:
        """A line of the table."""
        bleu, chrf, ter = (f"{system['scores'][test][metric]['score']:.2f}" for metric in METRICS)
        return (
            f"| {name} | `{system['preset']}` | {self.systems[name].tests[test]} | {bleu} | {chrf} | {ter} "
            f"| {system['parameters']:,} | {system['best_after_minutes']:.1f} "
            f"| {system['target_tokens_per_second']:,.0f} | {system['validation_bleu']:.2f} |"
        )


def figures(system: System, overrides: list[str]) -> dict[str, Any]:
    """The test scores of a system's run with these overrides, and what its records say."""
    run_dir = Path(str(load_config(system.preset, overrides).run_dir))
    scores = {}
    for test in system.tests:
        path = run_dir / "evaluations" / test / "scores.json"
        if not path.is_file():
            subprocess.run([Path(sys.executable).with_name("nmt-evaluate"), run_dir, "--test-set", test], check=True)
        scores[test] = json.loads(path.read_text("utf-8"))
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
    return {
        "preset": system.preset,
        "scores": scores,
        "parameters": environment["parameters"],
        "validations": [
            (event["minutes"], event["bleu"]) for event in events if event["event"] == "validation" and "bleu" in event
        ],
        **at_the_best(events),
        **trained(run_dir),
    }


def at_the_best(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Updates and perplexities at the best validation; that of training is of the last line of the log before."""
    best = max(
        (event for event in events if event["event"] == "validation" and "bleu" in event),
        key=lambda event: event["bleu"],
    )
    before = [event for event in events if event["event"] == "train" and event["step"] <= best["step"]]
    perplexities = {"training": before[-1]["perplexity"], "validation": best["perplexity"]}
    return {"updates": best["step"], "perplexities": perplexities}


def best_by(validations: list[tuple[float, float]], minutes: float) -> str:
    """The best score of the validations up to a time."""
    return f"{max((bleu for at, bleu in validations if at <= minutes + 0.5), default=0.0):.2f}"
