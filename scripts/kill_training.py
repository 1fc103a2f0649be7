"""Kill a training with SIGKILL at random moments, resume it, and compare the result with an uninterrupted run.

usage: python scripts/kill_training.py CONFIG.yaml|PRESET [key=value ...] [--kills N] [--seed N] [--folder DIR]

The configuration must end at training.max_steps, because a time limit gives a different number of updates each time.
The weights, the state of optimizer, schedule, patience and random numbers, and metrics.jsonl (except times and speeds)
have to be bit-identical.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.checkpoint import load_training_state

TIMES = {
    *("minutes", "seconds", "validation_seconds", "saving_seconds", "paused_seconds", "data_wait", "cpu_seconds"),
    *("source_tokens_per_second", "target_tokens_per_second"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="folder for the two runs (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        command = [sys.executable, "-m", "nmt.cli.train", options.config, *options.overrides]
        kills, runs = kill_and_resume(command, folder, options.kills, random.Random(options.seed))
        differences = compare(folder / "killed", folder / "undisturbed")
    print(f"{kills} kills, {runs} starts: {'; '.join(differences) or 'equal to the bit'}")
    return 1 if differences else 0


def kill_and_resume(command: list[str], folder: Path, kills: int, moments: random.Random) -> tuple[int, int]:
    """Train DIR/undisturbed, then DIR/killed with `kills` kills; return the numbers of kills and of starts.

    Each kill comes at a random moment within the duration of the undisturbed run. If the run ends before all kills have
    happened, it is compared and moved away, and a new one is begun.
    """
    if any((folder / name).exists() for name in ("undisturbed", "killed")):
        raise SystemExit(f"{folder} already contains runs: choose another --folder")
    started = time.monotonic()
    if run(command, folder / "undisturbed").wait():
        raise SystemExit(f"the run fails even undisturbed: see {folder / 'undisturbed.log'}")
    length = time.monotonic() - started
    done = starts = 0
    while done < kills:
        process = run(command, folder / "killed")
        starts += 1
        try:
            process.wait(timeout=moments.uniform(0, length))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
            continue
        if process.returncode:
            raise SystemExit(f"the run failed after {done} kills: see {folder / 'killed.log'}")
        if done < kills:
            differences = compare(folder / "killed", folder / "undisturbed")
            if differences:
                raise SystemExit(f"after {done} kills: {'; '.join(differences)}")
            (folder / "killed").rename(folder / f"killed-{starts}")
    if run(command, folder / "killed").wait():
        raise SystemExit(f"the run failed after {done} kills: see {folder / 'killed.log'}")
    return done, starts + 1


def run(command: list[str], run_dir: Path) -> subprocess.Popen[bytes]:
    """Start the command with a run directory, and log its output next to it."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with run_dir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([*command, f"run_dir={run_dir}"], stdout=log, stderr=log)


def compare(one: Path, other: Path) -> list[str]:
    """Return the names of the parts in which the last checkpoints and metrics of two runs differ."""
    ends = [find_checkpoint(path, "last") for path in (one, other)]
    parts: dict[str, list[Any]] = {
        "step": [end.step for end in ends],
        "weights": [load_weights(path, "last")[0] for path in (one, other)],
        "state": [load_training_state(end) for end in ends],
        "metrics.jsonl": [
            [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
            for path in (one, other)
        ],
    }
    for state in parts["state"]:
        state["window"] = state["window"]["sums"]  # the counts contain times
    return [name for name, (ours, theirs) in parts.items() if not equal(ours, theirs)]


def equal(one: Any, other: Any) -> bool:
    """Return whether two trees of tensors are bit-identical, ignoring times."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one.keys() - TIMES)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


if __name__ == "__main__":
    sys.exit(main())
