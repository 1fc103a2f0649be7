"""Train a preset of the speedrun with three seeds, score it, and write docs/results/speedrun.{md,json}.

usage: python scripts/speedrun.py FOLDER PRESET DIRECTION [--seeds 1,2,3] [--jobs 1]
       python scripts/speedrun.py data/multi30k quality_multi30k_de_en de-en --jobs 2    # each training on its own core

FOLDER contains {train,val,test_2016_flickr}.{de,en}. The preset says by training.max_minutes on which board it is, and
by the comment at its top why it is good. Runs are kept in runs/speedrun: the same command resumes or reuses them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any

from experiment import RESULTS, numbers, write_lines

from nmt.config.compose import locate
from nmt.config.load import config_to_dict, load_config
from nmt.files import atomic_write

WIDTH = 100  # columns of prose
SEEDS = 3  # of a record
BEAM = 5
TEST = "test_2016_flickr"
DIRECTIONS = {"de-en": "German to English", "en-de": "English to German"}
BOARDS = [(direction, minutes) for direction in DIRECTIONS for minutes in (20, 60)]
INTRODUCTION = """# Speedrun: how well can one CPU core learn to translate in 20 or 60 minutes?

The rules:

- The text is Multi30k, all 29,000 training pairs of its task 1, and nothing else. The test is
  test_2016_flickr. All choices are made on the validation text.
- Training has one thread, and takes at most 20 or 60 minutes of wall-clock time, in which it also
  validates. What follows it (the translation of the test) is not counted.
- The score is BLEU, cased and detokenised, of a single model with beam 5. A record is a preset whose
  mean over three seeds is above that of all before.
- A record is one preset, whose first comment says why it is better.

The command of each row, where FOLDER contains the text, is

```
python scripts/speedrun.py FOLDER PRESET DIRECTION
```
"""


def main() -> None:
    """Train and score the preset, and write its record and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("preset")
    parser.add_argument("direction", choices=DIRECTIONS)
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time, one core each (1)")
    options = parser.parse_args()
    source, target = options.direction.split("-")
    overrides = [f"data.path={options.folder.resolve()}", f"data.source_language={source}"]
    overrides += [f"data.target_language={target}", "training.threads=1"]
    config, reason = load_config(options.preset, overrides), why(locate(options.preset))
    name = Path(options.preset).stem
    board = (options.direction, config.training.max_minutes)
    if board not in BOARDS:
        parser.error(f"{options.preset}: training.max_minutes has to be 20 or 60, since these are the boards")
    if config.search.beam_size != BEAM:
        parser.error(f"{options.preset}: search.beam_size has to be {BEAM}, by the rules")

    for key, value in (("tokenizer.path", config.tokenizer.path), ("fine_tune.run", config.fine_tune.run)):
        if value is not None:
            parser.error(f"{options.preset}: {key} brings in other text or more training than the board allows")
    if len(set(options.seeds)) < len(options.seeds):
        parser.error("--seeds names a seed twice")
    settings = {key: config_to_dict(config)[key] for key in ("model", "tokenizer", "training", "search")}
    records = read()
    if any(on_board(each) == (name, *board) and each["settings"] != settings for each in records):
        parser.error(f"the board has {name} with other settings: give the changed preset another name")

    def run(seed: int) -> dict[str, Any]:
        run_dir = Path("runs", "speedrun", f"{name}-{config.training.max_minutes:g}-{options.direction}-{seed}")
        return figures(options.preset, run_dir, [*overrides, f"seed={seed}"])

    with ThreadPoolExecutor(options.jobs) as jobs:
        runs = list(jobs.map(run, options.seeds))
    record = {
        "preset": name,
        "direction": options.direction,
        "minutes": config.training.max_minutes,
        "date": date.today().isoformat(),
        "why": reason,
        "settings": settings,
        "runs": runs,
    }
    write(add(records, record), RESULTS)


def figures(preset: str, run_dir: Path, overrides: list[str]) -> dict[str, Any]:
    """Train a preset in a run directory (or resume it), score it, and return what its files record."""
    command("nmt-train", preset, f"run_dir={run_dir}", *overrides)
    command("nmt-evaluate", run_dir, "--test-set", TEST)
    scores = json.loads((run_dir / "evaluations" / TEST / "scores.json").read_text("utf-8"))
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
    end = next(event for event in reversed(events) if event["event"] == "end")
    return {
        "seed": load_config(preset, overrides).seed,
        "bleu": scores["bleu"]["score"],
        "signature": scores["bleu"]["signature"],
        "updates": end["step"],
        "minutes": end["minutes"],
        "parameters": end["parameters"],
        "validation_bleu": max(
            (event.get("bleu", 0.0) for event in events if event["event"] == "validation"), default=0.0
        ),
        "environment": {key: environment[key] for key in ("hardware", "torch", "git_commit")},
    }


def command(name: str, *arguments: object) -> None:
    """Run a command of the installation that runs this script."""
    subprocess.run([Path(sys.executable).with_name(name), *map(str, arguments)], check=True)


def why(preset: Path) -> str:
    """Return the comment at the top of a preset, on one line."""
    lines = preset.read_text("utf-8").splitlines()
    comment = [line[1:].strip() for line in lines[: next(n for n, line in enumerate(lines) if line[:1] != "#")]]
    return " ".join(comment)


def read() -> list[dict[str, Any]]:
    """Return all records, in the order in which they were made."""
    path = RESULTS / "speedrun.json"
    return json.loads(path.read_text("utf-8"))["records"] if path.is_file() else []


def add(records: list[dict[str, Any]], record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records with this one at the end; if the preset is on the board already, its runs are added there."""
    added = list(records)
    for place, old in enumerate(records):
        if on_board(old) == on_board(record):
            runs = {run["seed"]: run for run in (*old["runs"], *record["runs"])}
            added[place] = old | {"why": record["why"], "runs": [runs[seed] for seed in sorted(runs)]}
            return added
    return [*added, record]


def on_board(record: dict[str, Any]) -> tuple[str, str, float]:
    """Return what identifies a record: its preset, and its board."""
    return record["preset"], record["direction"], record["minutes"]


def write(records: list[dict[str, Any]], folder: Path) -> None:
    """Write the JSON file and the page."""
    with atomic_write(folder / "speedrun.json") as file:
        file.write(json.dumps({"records": records}, indent=1) + "\n")
    write_lines(folder / "speedrun.md", page(records))


def page(records: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the page: a table for each board, and why the presets are good."""
    lines = [INTRODUCTION]
    for direction, minutes in BOARDS:
        lines += [f"## {DIRECTIONS[direction]}, {minutes} minutes", ""]
        lines += [
            "| preset | date | BLEU | ± | BLEU of each seed | val BLEU | minutes | updates | parameters | hardware |"
        ]
        lines += ["|---|---|---:|---:|---|---:|---:|---:|---:|---|"]
        on_it = [record for record in records if (record["direction"], record["minutes"]) == (direction, minutes)]
        best = 0.0
        for record in on_it:
            score = mean(run["bleu"] for run in record["runs"])
            lines.append(row(record, is_record := score > best and len(record["runs"]) >= SEEDS))
            best = score if is_record else best
        lines.append("")
    lines += ["A record is bold.", "", "## Why", ""]
    for preset, text in {record["preset"]: record["why"] for record in records}.items():
        lines += fill(f"- `{preset}`: {text}", WIDTH, subsequent_indent="  ").splitlines()
    signatures = sorted({run["signature"] for record in records for run in record["runs"]})
    return [*lines, "", f"BLEU: `{'`, `'.join(signatures)}`. All settings and figures: [speedrun.json](speedrun.json)."]


def row(record: dict[str, Any], is_record: bool) -> str:
    """Return the line of a table for a preset; the mean of a record is bold."""
    runs = record["runs"]
    scores = [run["bleu"] for run in runs]
    shown = f"**{mean(scores):.2f}**" if is_record else f"{mean(scores):.2f}"
    deviation = f"{stdev(scores):.2f}" if len(scores) > 1 else ""
    return (
        f"| `{record['preset']}` | {record['date']} | {shown} | {deviation} "
        f"| {', '.join(f'{score:.2f}' for score in scores)} | {mean(run['validation_bleu'] for run in runs):.2f} "
        f"| {max(run['minutes'] for run in runs):.1f} | {mean(run['updates'] for run in runs):,.0f} "
        f"| {runs[0]['parameters']:,} | {runs[0]['environment']['hardware']} |"
    )


if __name__ == "__main__":
    main()
