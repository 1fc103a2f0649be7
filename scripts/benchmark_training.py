"""Measure how fast a configuration trains, alone or compared with other programs of the same size.

    python scripts/benchmark_training.py CONFIG.yaml|PRESET [key=value ...] [--reference] [--profile]

Every measurement window is a process of its own. It trains on the prepared data of the configuration, half of --seconds
to warm up and then --seconds that are measured, without validations and checkpoints. nmt is `nmt-train` itself with a
trainer that measures time (benchmarks/toolkit.py). With --reference it takes turns with torch.nn.Transformer in a plain
loop and, if `transformers` is installed, with its Marian model and Trainer; Luong's model takes turns with OpenNMT-py,
if it is installed. They have the same data, vocabulary, tokens per update, threads and precision, and only those
allocator settings that a program makes itself. Tokens are counted without padding for all of them. Other programs have
no counterpart of our other recurrent models; --reference-config names the Transformer that they train instead.
--profile adds a table of the operators that take the time of an update.

Utilisation is the arithmetic that the model needs for the pairs it was trained on (see nmt/models/flops.py), divided by
the speed of the fastest matrix product in any of the processes. Padding and a second pass (R-Drop) do not count.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks import reference_opennmt_training
from benchmarks.processes import PLAIN, measured_apart
from benchmarks.results import OURS, figures, note, summarise, table, write

import nmt
from nmt.cli.common import Parser, run_command
from nmt.config.load import load_config, save_config
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.prepare import Prepared, prepare
from nmt.device import choose_device, computes_bf16, describe_hardware
from nmt.errors import UsageError
from nmt.models.build import build_model
from nmt.models.flops import training_flops

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "training_speed.json"
# Settings that keep freed memory, in large pages, because new memory costs page faults. No program has them by default.
TUNED = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**28),
}
ALLOCATOR = {
    *TUNED,
    *("MALLOC_MMAP_MAX_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"),
}


class System(NamedTuple):
    """A program that trains, and how."""

    name: str
    kind: str  # its name in benchmarks/worker.py
    config: Config
    precision: str  # fp32 or bf16
    environment: dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit status."""
    parser = Parser(
        "benchmark_training.py",
        "CONFIG.yaml|PRESET [key=value ...] [--seconds S] [--windows N] [--name NAME] [-o FILE.json]\n"
        "       [--reference [--reference-config CONFIG] [--tuned] [--reference-precision fp32|bf16]] [--profile]",
        "Measure the training of a configuration: tokens a second, padding, waiting, memory, utilisation.",
        "example: python scripts/benchmark_training.py benchmark_transformer data.path=FOLDER --reference",
    )
    parser.add_config()
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a measurement window (default: 20)")
    parser.add_argument(
        "--windows", type=int, default=3, help="number of windows, each in a process of its own (default: 3)"
    )
    parser.add_argument(
        "--reference", action="store_true", help="also measure other programs that train a model of the same size"
    )
    parser.add_argument("--reference-config", help="configuration of the Transformer that they train (default: CONFIG)")
    parser.add_argument("--profile", action="store_true", help="also show which operators take the most time")
    parser.add_argument(
        "--tuned", action="store_true", help="also measure the first other program with a tuned memory allocator"
    )
    parser.add_argument(
        "--reference-precision",
        choices=["fp32", "bf16"],
        help="precision of the other programs (default: as configured)",
    )
    parser.add_argument("--name", help="name of the result (default: configuration and overrides)")
    parser.add_argument(
        "-o", "--output", type=Path, default=RESULTS, help="JSON file for the results; the page is next to it"
    )
    return run_command(parser, benchmark, argv)


def benchmark(arguments: Namespace) -> None:
    """Measure what the arguments ask for, print the table and write the results."""
    config = load_config(arguments.config, arguments.overrides)
    for option in ("reference_config", "reference_precision", "tuned"):
        if getattr(arguments, option) and not arguments.reference:
            raise UsageError(f"--{option.replace('_', '-')} only has an effect with --reference: give both")
    theirs = config
    if arguments.reference_config:
        kept = [override for override in arguments.overrides if override.startswith(("data.", "tokenizer."))]
        theirs = load_config(arguments.reference_config, kept)
    recurrent = not isinstance(theirs.model, TransformerConfig)
    if arguments.reference and recurrent and (reason := reference_opennmt_training.why_not(theirs)) is not None:
        raise UsageError(
            f"other programs have no counterpart of this model (OpenNMT-py: {reason}): name the configuration of a "
            "Transformer with --reference-config"
        )
    if arguments.windows < 1 or arguments.seconds < 0:
        raise UsageError("--windows must be at least 1, and --seconds must not be negative")
    device = choose_device(config.training.device)
    prepared = prepare(config, say)
    flops, parameters = size(config, prepared)
    their_flops = flops if theirs is config else size(theirs, prepare(theirs, say))[0]
    systems, left_out = choose_systems(arguments, config, theirs, precision(config, device))
    windows = measure_in_turn(systems, arguments.seconds, arguments.windows)
    peaks: dict[str, float] = {}
    for system in systems:
        fastest = max(window["matrix_product_peak"] for window in windows[system.name])
        peaks[system.precision] = max(fastest, peaks.get(system.precision, 0.0))
    ours = windows[OURS]
    total = np.sum([window["terms"] for window in ours], axis=0)
    marian = any(system.kind == "transformers" for system in systems)
    entry = {
        "command": command(arguments),
        "environment": {
            "hardware": describe_hardware(device),
            "device": device.type,
            "threads": ours[0]["threads"],
            "nmt": nmt.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": importlib.metadata.version("transformers") if marian else None,
        },
        "precision": ", ".join(dict.fromkeys(system.precision for system in systems)),
        "seconds": arguments.seconds,
        "parameters": parameters,
        "vocabulary": prepared.tokenizer.target_size,
        "training_pairs": len(prepared.train),
        "flop_coefficients": flops.tolist(),
        "mflop_per_target_token": float(flops @ total) / total[2] / 1e6,
        "peak_gflops": {name: peak / 1e9 for name, peak in peaks.items()},
        "left_out": left_out,
        **summarise(
            {
                system.name: [
                    figures(window, flops if system.config is config else their_flops, peaks[system.precision])
                    for window in windows[system.name]
                ]
                for system in systems
            }
        ),
    }
    if arguments.profile:
        entry["profile"] = measure(systems[0]._replace(kind="profile"), arguments.seconds)
    name = arguments.name or default_name(arguments)
    print(table({name: entry}) + "\n" + note(entry))
    write(arguments.output, name, entry)
    say(f"{name} written to {arguments.output} and {arguments.output.with_suffix('.md').name}")


def size(config: Config, prepared: Prepared) -> tuple[Any, int]:
    """Return the FLOP coefficients of the model and its number of parameters."""
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size).eval()
    return training_flops(model), sum(parameter.numel() for parameter in model.parameters())


def precision(config: Config, device: torch.device) -> str:
    """Return the precision (fp32 or bf16) that training.precision means on this device."""
    return "bf16" if computes_bf16(device, config.training.precision) else "fp32"


def choose_systems(
    arguments: Namespace, config: Config, their_config: Config, own_precision: str
) -> tuple[list[System], list[str]]:
    """Return the programs to measure, nmt first, and the reasons why others are left out."""
    systems, left_out = [System(OURS, "nmt", config, own_precision, {})], []
    theirs = arguments.reference_precision or own_precision
    told = f" ({Path(arguments.reference_config).stem})" if arguments.reference_config else ""
    told += "" if theirs == own_precision else f", {theirs}"
    if arguments.reference and not isinstance(their_config.model, TransformerConfig):
        if importlib.util.find_spec("onmt") is None:
            left_out.append("OpenNMT-py")
            say("left out: OpenNMT-py (see benchmarks/reference_opennmt.py for how to install it)")
        else:
            systems.append(System("OpenNMT-py", "opennmt", their_config, "fp32", {}))
            if arguments.tuned:
                systems.append(System("OpenNMT-py, allocator tuned", "opennmt", their_config, "fp32", TUNED))
    elif arguments.reference:
        systems.append(System(f"torch.nn.Transformer{told}", "torch", their_config, theirs, {}))
        if arguments.tuned:
            systems.append(System(f"torch.nn.Transformer{told}, allocator tuned", "torch", their_config, theirs, TUNED))
        missing = [name for name in ("transformers", "accelerate") if importlib.util.find_spec(name) is None]
        if missing:
            left_out.append(f"transformers (Marian), which needs {' and '.join(missing)}")
            say(f"left out: {left_out[-1]}")
        else:
            systems.append(System(f"transformers (Marian, Trainer){told}", "transformers", their_config, theirs, {}))
    return systems, left_out


def measure_in_turn(systems: Sequence[System], seconds: float, count: int) -> dict[str, list[dict[str, Any]]]:
    """Measure `count` windows of each system, taking turns."""
    windows: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    for turn in range(count):
        for system in systems:
            window = measure(system, seconds)
            windows[system.name].append(window)
            speed = window["target_tokens"] / window["seconds"]
            say(f"window {turn + 1} of {count}: {system.name}: {speed:,.0f} target tokens/s")
    return windows


def measure(system: System, seconds: float) -> dict[str, Any]:
    """Measure one window in a process of its own (benchmarks/worker.py); raise NmtError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.yaml"
        save_config(uninterrupted(copy.deepcopy(system.config), Path(folder) / "run", seconds), path)
        asked = {
            "system": system.kind,
            "config": str(path),
            "seconds": seconds,
            "bf16": system.precision == "bf16",
        }  # fmt: skip
        plain = os.environ if system.kind in ("nmt", "profile") else PLAIN
        environment = {name: value for name, value in plain.items() if name not in ALLOCATOR} | system.environment
        measured: dict[str, Any] = measured_apart(system.name, "benchmarks.worker", asked, environment)
    return measured


def uninterrupted(config: Config, run_dir: Path, seconds: float) -> Config:
    """Change a configuration so that nothing interrupts the window: no validations, checkpoints or limits."""
    training = config.training
    schedule = training.schedule
    schedule.horizon = schedule.horizon or training.max_steps
    training.max_steps = training.max_epochs = training.patience = training.checkpoint_every = None
    training.max_minutes = 60 + seconds / 20  # reached only if the measurement has failed
    training.validate_every = 10**9
    config.run_dir = str(run_dir)
    return config


def command(arguments: Namespace) -> str:
    """Return the command line without folders of this machine and without options that change no figure."""
    kept = [text for text in arguments.overrides if not text.startswith(("data.cache=", "run_dir="))]
    shown = [f"{key}={'FOLDER' if Path(value).is_absolute() else value}" for key, _, value in map(_split, kept)]
    options = [
        *(["--seconds", f"{arguments.seconds:g}", "--windows", str(arguments.windows)]),
        *(["--reference"] if arguments.reference else []),
        *(["--reference-config", _shown(arguments.reference_config)] if arguments.reference_config else []),
        *(["--profile"] if arguments.profile else []),
        *(["--tuned"] if arguments.tuned else []),
        *(["--reference-precision", arguments.reference_precision] if arguments.reference_precision else []),
    ]
    return " ".join(["python scripts/benchmark_training.py", _shown(arguments.config), *shown, *options])


def default_name(arguments: Namespace) -> str:
    """Return the name of the configuration and the overrides that are not about places."""
    kept = [text for text in arguments.overrides if not text.startswith(("data.", "run_dir="))]
    return "-".join([Path(arguments.config).stem, *kept])


def _shown(config: str) -> str:
    return Path(config).name if Path(config).is_absolute() else config


def _split(override: str) -> tuple[str, str, str]:
    return override.partition("=")


def say(sentence: str) -> None:
    """Print a line to stderr, because stdout is for the results."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
