"""Measure what averaging, subword regularisation, R-Drop and fine-tuning give on Multi30k in equal training time.

usage: python scripts/training_methods.py FOLDER [key=value ...] [--minutes M] [--seeds 1,2] [--jobs N] [--only A,B]

FOLDER contains {train,val,test_2016_flickr}.{de,en}. Each training is `multi30k_transformer` with the keys shown below.
For each seed it takes as many updates as fit into M minutes (15). To find that number, every method is first timed for
a minute, during which nothing else should run. The trainings then depend only on configuration, seed and data. N of
them run at the same time with one thread each (default: one at a time with all threads). The baseline is the best
checkpoint of the trainings whose checkpoints are averaged at the end. Existing times and runs are reused. Writes
docs/results/training_methods.{md,json}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from experiment import among, mean_and_deviation, numbers

from nmt.data.compression import read_lines
from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
RUNS = Path("runs/training_methods")
TEST = "test_2016_flickr"


class Method(NamedTuple):
    """A training: its name, its keys, and whether its averaged checkpoint is scored instead of the best one."""

    training: str
    keys: list[str]
    averaged: bool = False


AVERAGE = ["training.keep_best=5", "training.average=best"]
METHODS = {
    "baseline": Method("plain", AVERAGE),
    "average": Method("plain", AVERAGE, averaged=True),
    "ema": Method("ema", ["training.ema_decay=0.998"]),
    "subword_sampling": Method("subword_sampling", ["training.subword_sampling=0.3"]),
    "rdrop": Method("rdrop", ["training.rdrop=3"]),
    "fine_tune": Method("fine_tune", []),  # half of the time on half of the text, then on all text
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=numbers, default=[1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=among(METHODS), default=list(METHODS))
    options = parser.parse_args()
    seeds, methods = options.seeds, options.only
    overrides = [*options.overrides, *(["training.threads=1"] if options.jobs > 1 else [])]
    trainings = {METHODS[method].training: METHODS[method].keys for method in methods}
    with ThreadPoolExecutor(options.jobs) as jobs:
        timed = {
            training: jobs.submit(rate, training, options.folder, [*overrides, *keys])
            for training, keys in trainings.items()
        }
        updates = {training: round(future.result() * options.minutes) for training, future in timed.items()}
        futures = [
            jobs.submit(train, training, seed, options.folder, updates[training], [*overrides, *keys])
            for seed in seeds
            for training, keys in trainings.items()
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:
            jobs.shutdown(wait=False, cancel_futures=True)
            raise
    results = {(method, seed): evaluate(METHODS[method], seed) for seed in seeds for method in methods}
    write(methods, seeds, options.minutes, overrides, results)


def rate(training: str, folder: Path, keys: list[str]) -> float:
    """Return the updates per minute of a training, without validations and without the first updates (warm-up)."""
    run_dir = RUNS / f"{training}-timed"
    nmt_train(
        run_dir, folder, ["training.max_minutes=1", "training.log_every=5", "training.validate_every=100000", *keys]
    )
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    first, *_, last = (event for event in events if event["event"] == "train")
    return float((last["step"] - first["step"]) / (last["minutes"] - first["minutes"]))


def train(training: str, seed: int, folder: Path, updates: int, keys: list[str]) -> None:
    """Train one method with one seed."""
    run_dir = RUNS / f"{training}-{seed}"
    common = [f"seed={seed}", *keys]
    if training == "fine_tune":
        first = RUNS / f"fine_tune-{seed}-first"
        nmt_train(first, halved(folder), [*until(updates // 2), *common])
        rest = [f"fine_tune.run={first}", "training.schedule.warmup_steps=100"]
        nmt_train(run_dir, folder, [*until(updates - updates // 2), *common, *rest])
    else:
        nmt_train(run_dir, folder, [*until(updates), *common])


def until(updates: int) -> list[str]:
    """Return the keys that end a training after `updates` updates and validate it every 150."""
    return [f"training.max_steps={updates}", "training.max_minutes=null", "training.validate_every=150"]


def evaluate(method: Method, seed: int) -> dict[str, Any]:
    """Return the scores of a method on the test set and on val, and its number of updates."""
    run_dir = RUNS / f"{method.training}-{seed}"
    checkpoint = [] if method.averaged else ["--checkpoint", "best"]
    command("nmt-evaluate", run_dir, "--test-set", TEST, *checkpoint)
    scores = json.loads((run_dir / "evaluations" / TEST / "scores.json").read_text("utf-8"))
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    counted = [event["event"] == "validation" or (method.averaged and event.get("taken", False)) for event in events]
    val_bleu = max(event.get("bleu", 0.0) for event, counts in zip(events, counted, strict=True) if counts)
    return {"test": scores, "val_bleu": val_bleu, "updates": events[-1]["step"]}


def nmt_train(run_dir: Path, folder: Path, more: list[str]) -> None:
    command("nmt-train", "multi30k_transformer", f"data.path={folder}", f"run_dir={run_dir}", *more)


def command(name: str, *arguments: object) -> None:
    """Run an installed command of the Python that runs this script, with its output in a log."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with (RUNS / "log.txt").open("a") as log:
        subprocess.run([Path(sys.executable).with_name(name), *map(str, arguments)], check=True, stderr=log, stdout=log)


def halved(folder: Path) -> Path:
    """Return a folder with every second training pair and the unchanged other files."""
    half = RUNS / "half"
    half.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.??"):
        lines = read_lines(path)
        with atomic_write(half / path.name) as file:
            file.writelines(f"{line}\n" for line in (lines[::2] if path.name.startswith("train.") else lines))
    return half


def write(
    methods: list[str], seeds: list[int], minutes: float, overrides: list[str], results: dict[tuple[str, int], Any]
) -> None:
    """Write the result page and the JSON file with its figures."""
    figures = {method: {seed: results[method, seed] for seed in seeds} for method in methods}
    lines = [
        f"# Which training methods help within {minutes:g} minutes?",
        "",
        "Each row changes one thing about the baseline. `baseline` and `average` are the same trainings: the one is "
        "scored with the best checkpoint, the other with the average if it was taken. All had the same training time, "
        "so a method whose updates take longer had fewer of them. A method helps if its mean is above that of the "
        "baseline by more than the deviations.",
        "",
        f"| method | keys | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | deviation | updates | val BLEU |",
        "|---|---|" + "---:|" * (len(seeds) + 4),
    ]
    for method in methods:
        runs = [figures[method][seed] for seed in seeds]
        scores = [run["test"]["bleu"]["score"] for run in runs]
        keys = " ".join(f"`{key}`" for key in METHODS[method].keys) or "half the text for half the time, then all"
        each = " | ".join(f"{score:.2f}" for score in scores)
        lines.append(
            f"| {method} | {keys} | {each} | {mean_and_deviation(scores)} "
            f"| {mean(run['updates'] for run in runs):,.0f} | {mean(run['val_bleu'] for run in runs):.2f} |"
        )
    lines += [
        "",
        f"BLEU on {TEST}, German to English, beam 5. Each system is `multi30k_transformer` after as many updates as "
        f"take {minutes:g} minutes when nothing else runs, validated every 150 updates. The table was made by",
        "",
        "```",
        f"python scripts/training_methods.py FOLDER {' '.join(sys.argv[2:])}",
        "```",
        "",
        "All scores with their signatures: [training_methods.json](training_methods.json).",
    ]
    record = {"minutes": minutes, "overrides": overrides, "methods": figures}
    for ending, text in (("md", "\n".join(lines)), ("json", json.dumps(record, indent=1))):
        with atomic_write(RESULTS / f"training_methods.{ending}") as file:
            file.write(f"{text}\n")


if __name__ == "__main__":
    main()
