"""Common parts of scripts/quality_*.py: train presets side by side, score them, write a page of results."""

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
    """A preset and the test sets on which it is scored: their names, and how the page calls them."""

    preset: str
    tests: dict[str, str]


@dataclass(frozen=True)
class Quality:
    """Several single systems that are trained at the same time, and the page about them."""

    name: str  # of the page and of its JSON file
    title: str  # the heading and, below it, the answer
    command: str
    systems: dict[str, System]
    minutes: list[int]  # after which validation scores are shown
    remarks: str = ""  # Markdown for the end of the page

    def run(self, overrides: list[str]) -> None:
        """Train all systems (or resume their runs), score them, and write the page and its figures."""
        presets = [system.preset for system in self.systems.values()]
        if status := train_side_by_side([*presets, *overrides]):
            sys.exit(status)
        told = overrides_of(len(presets), overrides)
        self.write({name: figures(system, told) for name, system in self.systems.items()})

    def write(self, found: dict[str, dict[str, Any]]) -> None:
        """Write the page and the JSON file with its figures."""
        for ending, text in (
            ("json", json.dumps({"command": self.command, "systems": found}, indent=1) + "\n"),
            ("md", self.page(found)),
        ):
            with atomic_write(RESULTS / f"{self.name}.{ending}") as file:
                file.write(text)

    def page(self, found: dict[str, dict[str, Any]]) -> str:
        """Return the page in Markdown."""
        some = next(iter(found.values()))
        environment = some["environment"]
        lines = [
            f"# {self.title}",
            "",
            "| system | preset | test set | BLEU | chrF | TER | parameters | best after minutes "
            "| target tokens/s | val BLEU |",
            "|---|---|---|" + "---:|" * 7,
        ]
        for name, system in found.items():
            lines += [self.row(name, system, test) for test in system["scores"]]
        lines += [
            "",
            f"Every choice was made on validation text. BLEU is cased and detokenised, with beam 5. The systems are "
            f"trained side by side on {environment['hardware']}, with {environment['cpu_threads']} thread(s) each and "
            f"torch {environment['torch']}, by",
            "",
            "```",
            self.command,
            "```",
            "",
            f"All scores with their signatures: [{self.name}.json]({self.name}.json).",
            "",
        ]
        lines += ["BLEU on validation text during training:", "", "| minutes | " + " | ".join(found) + " |"]
        lines.append("|---:|" + "---:|" * len(found))
        for minutes in self.minutes:
            reached = [best_by(system["validations"], minutes) for system in found.values()]
            lines.append(f"| {minutes} | " + " | ".join(reached) + " |")
        lines += ["", "Perplexity at the best validation, on training text (with dropout) and on validation text:", ""]
        for name, system in found.items():
            training, validation = (f"{system['perplexities'][text]:.1f}" for text in ("training", "validation"))
            lines.append(f"- {name}: {training} and {validation}, after {system['updates']:,} updates")
        return "\n".join([*lines, *(["", self.remarks] if self.remarks else [])]) + "\n"

    def row(self, name: str, system: dict[str, Any], test: str) -> str:
        """Return the line of the table for one system and test set."""
        bleu, chrf, ter = (f"{system['scores'][test][metric]['score']:.2f}" for metric in METRICS)
        return (
            f"| {name} | `{system['preset']}` | {self.systems[name].tests[test]} | {bleu} | {chrf} | {ter} "
            f"| {system['parameters']:,} | {system['best_after_minutes']:.1f} "
            f"| {system['target_tokens_per_second']:,.0f} | {system['validation_bleu']:.2f} |"
        )


def figures(system: System, overrides: list[str]) -> dict[str, Any]:
    """Return the test scores of the run of a system with these overrides, and what the files of the run record."""
    run_dir = Path(str(load_config(system.preset, overrides).run_dir))
    scores = {}
    for test in system.tests:
        path = run_dir / "evaluations" / test / "scores.json"
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
    """Return the updates and perplexities at the best validation (training: from the last log line before it)."""
    best = max(
        (event for event in events if event["event"] == "validation" and "bleu" in event),
        key=lambda event: event["bleu"],
    )
    before = [event for event in events if event["event"] == "train" and event["step"] <= best["step"]]
    perplexities = {"training": before[-1]["perplexity"], "validation": best["perplexity"]}
    return {"updates": best["step"], "perplexities": perplexities}


def best_by(validations: list[tuple[float, float]], minutes: float) -> str:
    """Return the best score of the validations up to a time, as a table cell."""
    return f"{max((bleu for at, bleu in validations if at <= minutes + 0.5), default=0.0):.2f}"
