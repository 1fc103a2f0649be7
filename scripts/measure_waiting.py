"""Compare the speed of training and translation when waiting threads sleep at once, spin for a while, or spin long.

    python scripts/measure_waiting.py RUN_DIR --config CONFIG.yaml --source FILE [--spins 300000 0 10000] [--busy N]

CONFIG.yaml is trained (its data are prepared first), RUN_DIR is a trained run, and FILE contains raw sentences. Each
round measures every setting of --spins in processes of its own: `nmt-train` for --seconds; --sentences lines of FILE
translated at once; and --single lines one at a time, with all threads and with one thread; each with a beam of 5 and
greedily. --busy N also starts N processes that compute all the time. The default of GNU's OpenMP is 300,000 turns. The
figures are written to docs/results/waiting.json and a page next to it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.page import cell, spread
from benchmarks.processes import measured_apart

from nmt.config.load import load_config, save_config
from nmt.data.prepare import prepare
from nmt.device import choose_device, describe_hardware
from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "waiting.json"
FIGURES = {
    "training": "training, target tokens/s",
    "beam 5": "files, beam 5, sentences/s",
    "greedy": "files, greedy, sentences/s",
    "beam 5, alone": "one sentence, beam 5, ms",
    "greedy, alone": "one sentence, greedy, ms",
    "beam 5, alone, one thread": "one sentence, beam 5, ms, by one thread",
    "greedy, alone, one thread": "one sentence, greedy, ms, by one thread",
}


def main() -> None:
    """Measure all rounds and write the page."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder, busy(options.busy):
        config = prepared(options.config, options.overrides, Path(folder))
        rounds = []
        for _ in range(options.rounds):
            rounds.append({str(spins): measure(options, config, spins) for spins in options.spins})
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    write(options, rounds)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir")
    parser.add_argument("--config", required=True, help="CONFIG.yaml or a preset")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="key=value")
    parser.add_argument("--source", required=True)
    parser.add_argument("--spins", type=int, nargs="+", default=[300_000, 0])
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--single", type=int, default=20)
    return parser.parse_args()


def prepared(config: str, overrides: Sequence[str], folder: Path) -> Path:
    """Prepare the data of a configuration, and return the file of a copy that trains on them without validations."""
    loaded = load_config(config, [*overrides, "training.validate_every=1000000", f"run_dir={folder / 'run'}"])
    prepare(loaded, lambda line: None)
    save_config(loaded, folder / "config.yaml")
    return folder / "config.yaml"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run `processes` processes that compute all the time, each in its own session like an unrelated program."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command, start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()


def measure(options: argparse.Namespace, config: Path, spins: int) -> dict[str, float]:
    """Return the speeds when waiting threads spin for `spins` turns."""
    environment = {**os.environ, "GOMP_SPINCOUNT": str(spins)}
    asked: dict[str, Any] = {"system": "nmt", "config": str(config), "seconds": options.seconds, "bf16": False}
    window = measured_apart("nmt-train", "benchmarks.worker", asked, environment)
    found = {"training": window["target_tokens"] / window["seconds"]}
    for name, beam_size in (("beam 5", 5), ("greedy", 1)):
        asked = {
            "system": "nmt", "run": options.run_dir, "checkpoint": None, "device": "cpu", "precision": "fp32",
            "engine": "native", "streams": None, "search": [], "beam_size": beam_size, "source": options.source,
            "sentences": options.sentences, "single": 0,
        }  # fmt: skip
        files = measured_apart("files", "benchmarks.translating", asked, environment)
        found[name] = files["sentences"] / files["seconds"]
        asked |= {"streams": 1, "single": options.single, "sentences": options.single}
        for by, more in (("", {}), (", one thread", {"OMP_NUM_THREADS": "1"})):
            alone = measured_apart("single sentences", "benchmarks.translating", asked, environment | more)
            found[f"{name}, alone{by}"] = 1000 * median(alone["latencies"])
    return found


def write(options: argparse.Namespace, rounds: list[dict[str, dict[str, float]]]) -> None:
    """Save this measurement, replacing an earlier one with the same number of busy processes, and write the page."""
    words = ["RUN_DIR" if word == options.run_dir else word for word in sys.argv[1:]]
    record = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    record[str(options.busy)] = {
        "command": f"python scripts/measure_waiting.py {shlex.join(words)}",
        "hardware": describe_hardware(choose_device("cpu")),
        "rounds": rounds,
    }
    with atomic_write(RESULTS) as file:
        file.write(json.dumps(record, indent=1) + "\n")
    with atomic_write(RESULTS.with_suffix(".md")) as file:
        file.write(page(record))


def page(record: dict[str, Any]) -> str:
    """Return the page, with one table for each number of busy processes."""
    text = (
        "# Should waiting threads spin or sleep?\n\nA thread that has no work spins for a number of turns before it "
        "sleeps. Spinning reacts faster, but takes a core away from other programs. 300,000 turns are the default of "
        "GNU's OpenMP, and 10,000 is what nmt's commands set. The settings were measured in turn; the tables show "
        "medians over the rounds. The last column shows how many times as fast the last setting is as the first, with "
        "the range over the rounds.\n"
    )
    for count, part in sorted(record.items(), key=lambda item: int(item[0])):
        spins = list(part["rounds"][0])
        text += f"\n## Other busy processes: {count} ({part['hardware']})\n\n```\n{part['command']}\n```\n\n"
        headings = " | ".join(f"{int(each):,} turns" for each in spins)
        text += f"| | {headings} | times as fast |\n|---|{'---:|' * (len(spins) + 1)}\n"
        for key, name in FIGURES.items():
            values = [f"{median(one[each][key] for one in part['rounds']):,.1f}" for each in spins]
            ratios = [one[spins[-1]][key] / one[spins[0]][key] for one in part["rounds"]]
            ratios = [1 / ratio for ratio in ratios] if ", ms" in name else ratios
            text += f"| {name} | {' | '.join(values)} | {cell(spread(ratios), '{:.2f}', True)} |\n"
    return text


if __name__ == "__main__":
    main()
