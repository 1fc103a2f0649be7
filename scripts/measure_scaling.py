"""Measure how much faster several processes train than one.

    python scripts/measure_scaling.py CONFIG.yaml|PRESET [key=value ...] [--updates N] [--rounds N]

On CPUs, two processes with one thread each are compared with one process with two threads, which use the same cores. On
GPUs, as many processes as there are GPUs (or --processes) are compared with one. They train the same updates, taking
turns for several rounds. The speed of a run is the median over its log lines, without the first ones. The exchanges of
an update are also timed separately: PyTorch's all-reduce of as many numbers as the model has weights, and the two small
exchanges. In training a part of this overlaps with the backward pass, so its share of an update is an upper bound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import torch
from benchmarks import data_and_scale, page

from nmt.cli.common import Parser, number, run_command
from nmt.config.load import load_config, save_config
from nmt.config.ranges import Count, Range
from nmt.config.schema import Config
from nmt.data.prepare import prepare
from nmt.device import choose_device, describe_hardware
from nmt.errors import NmtError

KEY = "scaling"
INTRODUCTION = """## Scaling

How much faster do several processes train than one? `python scripts/measure_scaling.py CONFIG.yaml|PRESET [key=value
...]` compares their target tokens per second. Efficiency is the speed of all processes divided by the speed of one and
by their number. On a CPU it is just the quotient of the two speeds, because both use the same cores. The last column
shows how much of the time of an update is spent on exchanging gradients, losses, clock and signals. The exchange is
timed separately, so this is an upper bound: in training a part of it overlaps with the backward pass.
"""
LINES, WARM_UP = 6, 2  # log lines of a run, and the number of them that are ignored as warm-up


class Arrangement(NamedTuple):
    """A number of processes and the CPU threads of each (None: the default)."""

    processes: int
    threads: int | None

    def __str__(self) -> str:
        threads = "" if self.threads is None else f" of {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.processes} process{'es' * (self.processes > 1)}{threads}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and return the exit status."""
    parser = Parser(
        "measure_scaling.py",
        "CONFIG.yaml|PRESET [key=value ...] [--updates N] [--rounds N] [--processes N] [-o FILE.json]",
        "Measure how much faster several processes train than one.",
        "example: python scripts/measure_scaling.py multi30k_transformer data.path=FOLDER",
    )
    parser.add_config()
    parser.add_argument(
        "--updates", type=number(Annotated[int, Range(LINES)]), default=120, help="updates of each run (default: 120)"
    )
    parser.add_argument("--rounds", type=number(Count), default=3, help="runs of each arrangement (default: 3)")
    parser.add_argument(
        "--processes",
        type=number(Annotated[int, Range(2, 1024)]),
        help="number of processes (default: 2, or the number of GPUs)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=data_and_scale.RESULTS, help="JSON whose key 'scaling' is written"
    )
    return run_command(parser, measure, argv)


def measure(arguments: Namespace) -> None:
    """Run the arrangements, taking turns, and write the results."""
    config = load_config(arguments.config, arguments.overrides)
    device = choose_device(config.training.device)
    several = arguments.processes or (max(2, torch.cuda.device_count()) if device.type == "cuda" else 2)
    on_cpu = device.type == "cpu"
    one, all_of_them = Arrangement(1, several if on_cpu else None), Arrangement(several, 1 if on_cpu else None)
    prepare(config, say)
    rates: dict[Arrangement, list[float]] = {one: [], all_of_them: []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.rounds):
            for arrangement, found in rates.items():
                run_dir = Path(folder) / f"{turn}-{arrangement.processes}"
                events = trained(config, arrangement, run_dir, arguments.updates)
                found.append(median(event["target_tokens_per_second"] for event in events))
                say(f"{arrangement}: {found[-1]:,.0f} target tokens/s")
        per_update = 60 * (events[-1]["minutes"] - events[0]["minutes"]) / (events[-1]["step"] - events[0]["step"])
        parameters = json.loads((run_dir / "environment.json").read_text("utf-8"))["parameters"]
        exchange = exchanged(all_of_them, parameters, Path(folder) / "exchange.json")
    ratios = [many / single for single, many in zip(*rates.values(), strict=True)]
    sizes = [f"--updates {arguments.updates}", f"--rounds {arguments.rounds}"]
    given = [*shown(arguments.overrides), *sizes]
    entry = {
        "command": " ".join(["python scripts/measure_scaling.py", Path(arguments.config).name, *given]),
        "hardware": describe_hardware(device),
        "torch": torch.__version__,
        "parameters": parameters,
        "rates": {str(arrangement): page.spread(list(found)) for arrangement, found in rates.items()},
        "efficiency": page.spread([ratio if on_cpu else ratio / several for ratio in ratios]),
        "exchange_seconds": exchange,
        "exchange_share": sum(exchange.values()) / per_update,
    }
    entries = json.loads(arguments.output.read_text("utf-8")) if arguments.output.is_file() else {}
    name = " ".join([Path(arguments.config).stem, *given])
    every = entries.get(KEY, {}) | {name: entry}
    data_and_scale.write(arguments.output, Path(__file__).name, KEY, every, tables)
    say("\n".join(tables(every)))


def trained(config: Config, arrangement: Arrangement, run_dir: Path, updates: int) -> list[dict[str, Any]]:
    """Train `updates` updates and return the log lines of the run, without those of its warm-up."""
    training = config.training
    training.max_steps, training.max_minutes, training.max_epochs, training.patience = updates, None, None, None
    training.log_every, training.validate_every, training.validation_sentences = updates // LINES, updates + 1, 1
    training.average, training.threads, config.run_dir = None, arrangement.threads, str(run_dir)
    path = run_dir.with_suffix(".yaml")
    save_config(config, path)
    launch(arrangement, "nmt.cli.train", path)
    lines = (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "train"][WARM_UP:]


def exchanged(arrangement: Arrangement, numbers: int, result: Path) -> dict[str, float]:
    """Return the seconds that summing `numbers` gradients, summing losses, and agreeing on clock and signals take."""
    launch(arrangement, "benchmarks.exchange", numbers, result)
    seconds: dict[str, float] = json.loads(result.read_text("utf-8"))
    return seconds


def launch(arrangement: Arrangement, module: str, *arguments: object) -> None:
    """Run a module in one process, or in several with torchrun; raise NmtError if that fails."""
    count = str(arrangement.processes)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", count, "-m"]
    command = [*(torchrun if arrangement.processes > 1 else []), module, *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    threads = {} if arrangement.threads is None else {"OMP_NUM_THREADS": str(arrangement.threads)}
    environment = {**os.environ, "PYTHONPATH": path, **threads}
    done = subprocess.run([sys.executable, "-m", *command], env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise NmtError(f"{arrangement} could not be measured: its own messages are above")


def tables(entries: dict[str, Any]) -> list[str]:
    """Return the table, with one row per arrangement, and a note for each configuration."""
    rows, notes = [], []
    for name, entry in entries.items():
        for arrangement, rate in entry["rates"].items():
            last = arrangement == [*entry["rates"]][-1]
            efficiency = page.cell(entry["efficiency"], "{:.2f}", True) if last else ""
            share = f"{entry['exchange_share']:.1%}" if last else ""
            rows.append([name, arrangement, page.cell(rate, "{:,.0f}", True), efficiency, share])
        notes.append(
            f"- {name}: `{entry['command']}` on {entry['hardware']} with torch {entry['torch']}. The model has "
            f"{entry['parameters']:,} weights. Exchanging the gradients takes "
            f"{1e3 * entry['exchange_seconds']['gradients']:.1f} ms, the losses "
            f"{1e3 * entry['exchange_seconds']['losses']:.2f} ms, clock and signals "
            f"{1e3 * entry['exchange_seconds']['agreement']:.2f} ms.\n"
        )
    headings = ["", "processes", "target tokens/s", "efficiency", "exchange, share of an update"]
    return [INTRODUCTION, page.markdown_table(headings, 2, rows), "".join(notes)]


def shown(overrides: Sequence[str]) -> list[str]:
    """Return the overrides without folders of this machine."""
    return [key + "=FOLDER" if key in ("data.path", "data.cache") else f"{key}={value}"
            for key, _, value in (override.partition("=") for override in overrides)]  # fmt: skip


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
