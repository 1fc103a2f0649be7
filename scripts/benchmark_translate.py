"""Measure how fast a trained run translates, alone or compared with other programs with the same weights.

    python scripts/benchmark_translate.py RUN_DIR --source FILE [--beam-size N ...] [--reference]

FILE contains raw source sentences, one per line; the first --sentences of them are translated. Each of --rounds is a
process of its own (benchmarks/translating.py), so that load time and memory belong to one system. It translates all
sentences at once, in batches of search.tokens_per_batch, and then --single of them one at a time. --engine, --precision
and --threads choose what is measured; the others are compared with the first of each. STREAMSxTHREADS is the number of
batches that are searched in parallel and the number of threads of each. An export of the run is made beforehand.

With --reference it takes turns with CTranslate2 itself, in float32 and int8, once with one thread per stream and once
with one stream that has all threads. If they are installed, it also compares `transformers`, whose MarianMTModel is
post-norm, and OpenNMT-py, whose Transformer is pre-norm. Greedy translations in fp32 should be equal; if fewer than 99%
are, a line on stderr says so. On another --device it takes turns with CTranslate2 there, in float16 and float32. The
figures are written to docs/results/translation_speed.json (or to the file -o), and a table to the page next to it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import reference_marian, reference_opennmt
from benchmarks.processes import PLAIN, measured_apart
from benchmarks.translation_results import note, summarise, table, write

import nmt
from nmt.cli.common import Parser, run_command
from nmt.config.models import TransformerConfig
from nmt.device import choose_device, describe_hardware
from nmt.errors import UsageError
from nmt.inference.engines.engine import choose_engine
from nmt.inference.export.ctranslate2 import export
from nmt.inference.translator import Translator
from nmt.runs.run import LoadedRun, load_run

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "translation_speed.json"
AGREEMENT = 0.99  # expected share of equal greedy translations in fp32


class System(NamedTuple):
    """A program that translates, and how."""

    kind: str  # its name in benchmarks/translating.py
    engine: str
    precision: str
    streams: int
    threads: int  # per stream

    @property
    def name(self) -> str:
        """The name of the system in tables."""
        program = self.kind if self.kind != "nmt" or self.engine == "native" else f"nmt with {self.engine}"
        return f"{program}, {self.precision}, {self.streams}x{self.threads}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit status."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = Parser(
        "benchmark_translate.py",
        "RUN_DIR --source FILE [--engine E ...] [--precision P ...] [--threads STREAMSxTHREADS] [--beam-size N ...]\n"
        "       [--search KEY=VALUE] [--sentences N] [--single N] [--rounds N] [--reference] [--name NAME] [-o JSON]",
        "Measure translation: sentences and tokens a second, latency of single sentences, memory, load time.",
        "example: python scripts/benchmark_translate.py runs/my --source test.de --beam-size 1 5 --reference",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run directory of nmt-train")
    parser.add_argument("--source", metavar="FILE", required=True, help="sentences to translate, one a line")
    parser.add_argument("--checkpoint", metavar="NAME", help="default: averaged if there is one, or best")
    parser.add_argument(
        "--engine", choices=["auto", "native", "ctranslate2"], nargs="+", default=["auto"], help="default: auto"
    )
    parser.add_argument(
        "--precision", choices=["fp32", "bf16", "fp16", "int8"], nargs="+", default=["fp32"], help="default: fp32"
    )
    parser.add_argument("--device", default="cpu", help="device of nmt; default: cpu")
    parser.add_argument("--threads", metavar="SxT", type=split, help=f"default: {cores}x1")
    parser.add_argument("--beam-size", metavar="N", type=count, nargs="+", help="default: search.beam_size")
    parser.add_argument(
        "--search",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="search key of nmt, such as stop=exact; may be repeated",
    )
    parser.add_argument(
        "--sentences",
        metavar="N",
        type=count,
        default=1000,
        help="number of sentences to translate, at most (default: 1000)",
    )
    parser.add_argument(
        "--single",
        metavar="N",
        type=int,
        default=100,
        help="number of sentences translated one at a time (default: 100)",
    )
    parser.add_argument("--rounds", metavar="N", type=count, default=3, help="rounds per system; default: 3")
    parser.add_argument("--reference", action="store_true", help="also measure other programs")
    parser.add_argument("--name", help="name of the result (default: the name of the run)")
    parser.add_argument(
        "-o", "--output", type=Path, default=RESULTS, help="JSON file for the results; the page is next to it"
    )
    return run_command(parser, benchmark, argv)


def count(text: str) -> int:
    """Parse a whole number from 1 on (an argument type)."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def split(text: str) -> tuple[int, int]:
    """Parse STREAMSxTHREADS (an argument type)."""
    streams, x, threads = text.partition("x")
    if not x:
        raise ArgumentTypeError(f"{text!r} is not STREAMSxTHREADS, such as 2x1")
    return count(streams), count(threads)


def benchmark(arguments: Namespace) -> None:
    """Measure what the arguments ask for, print the table and write the results."""
    run = load_run(arguments.run_dir, arguments.checkpoint)
    if not any(line.strip() for line in Path(arguments.source).read_text("utf-8").splitlines()):
        raise UsageError(f"{arguments.source} is empty: there is nothing to translate")
    systems, left_out = choose_systems(arguments, run)
    make_export(arguments, systems)
    entries = {}
    with tempfile.TemporaryDirectory() as folder:
        exported = str(export(run, Path(folder) / "export")) if arguments.reference else None
        for beam_size in arguments.beam_size or [run.config.search.beam_size]:
            asked = {
                "run": arguments.run_dir,
                "checkpoint": arguments.checkpoint,
                "device": arguments.device,
                "export": exported,
                "source": arguments.source,
                "beam_size": beam_size,
                "search": arguments.search,
                "sentences": arguments.sentences,
                "single": arguments.single,
            }
            rounds = measure_in_turn(systems, asked, arguments.rounds)
            entry = describe(arguments, run, beam_size, left_out) | summarise(rounds)
            entry["sentences"] = rounds[systems[0].name][0]["sentences"]
            entries[f"{arguments.name or Path(arguments.run_dir).name}, {search_name(beam_size)}"] = entry
            if beam_size == 1:
                check_agreement(systems, entry["shared"])
    print(table(entries) + "".join(f"{note(entry)}\n" for entry in entries.values()))
    for name, entry in entries.items():
        write(arguments.output, name, entry)
    say(f"{'; '.join(entries)} written to {arguments.output} and {arguments.output.with_suffix('.md').name}")


def choose_systems(arguments: Namespace, run: LoadedRun) -> tuple[list[System], list[str]]:
    """Return the programs to measure, nmt first, and the reasons why others are left out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind = arguments.device.partition(":")[0]
    streams, threads = arguments.threads or (cores if kind == "cpu" else 1, 1)
    systems = [
        System("nmt", choose_engine(engine, precision), precision, streams, threads)
        for engine in arguments.engine
        for precision in arguments.precision
    ]
    systems = list(dict.fromkeys(systems))  # --engine auto is one of the others
    left_out: list[str] = []
    if not arguments.reference:
        return systems, left_out
    if not isinstance(run.config.model, TransformerConfig):
        raise UsageError(f"--reference compares Transformers only: other programs have no {run.config.model.family}")
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--reference does not know --device {arguments.device}: choose cpu or cuda")
    if kind == "cuda":
        left_out += [f"{name}, which is measured on CPUs only" for name in ("transformers", "OpenNMT-py")]
        return [*systems, *(System("ctranslate2", "", precision, 1, 1) for precision in ("fp16", "fp32"))], left_out
    total = streams * threads
    for precision in ("fp32", "int8"):
        systems += [System("ctranslate2", "", precision, *each) for each in dict.fromkeys([(total, 1), (1, total)])]
    for name, package, why_not in (
        ("transformers", "transformers", reference_marian.why_not),
        ("OpenNMT-py", "onmt", reference_opennmt.why_not),
    ):
        missing = importlib.util.find_spec(package) is None
        if reason := "it is not installed" if missing else why_not(run.config.model):
            left_out.append(f"{name}, because {reason}")
            say(f"left out: {left_out[-1]}")
        else:
            systems.append(System(name, "", "fp32", 1, total))
    return systems, left_out


def make_export(arguments: Namespace, systems: Sequence[System]) -> None:
    """Make an export of the run, if nmt needs one, so that no round spends time on it."""
    for system in systems:
        if system.engine == "ctranslate2":
            Translator.load(
                arguments.run_dir, arguments.checkpoint, arguments.device, system.precision, say, system.engine
            )
            return


def measure_in_turn(systems: Sequence[System], asked: dict[str, Any], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Measure `rounds` rounds of each system, taking turns."""
    measured: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    for turn in range(rounds):
        for system in systems:
            window = measure(system, asked)
            measured[system.name].append(window)
            speed = window["sentences"] / window["seconds"]
            searched = search_name(asked["beam_size"])
            say(f"{searched}, round {turn + 1} of {rounds}: {system.name}: {speed:,.1f} sentences/s")
    return measured


def measure(system: System, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure one round in a process of its own (benchmarks/translating.py); raise NmtError if it fails."""
    specification = asked | {"system": system.kind, **system._asdict()}
    threads = system.threads * (
        system.streams if system.kind == "nmt" else 1
    )  # nmt divides its threads between streams itself
    environment = {**(os.environ if system.kind == "nmt" else PLAIN), "OMP_NUM_THREADS": str(threads)}
    window: dict[str, Any] = measured_apart(system.name, "benchmarks.translating", specification, environment)
    return window


def describe(arguments: Namespace, run: LoadedRun, beam_size: int, left_out: list[str]) -> dict[str, Any]:
    """Return what an entry records in addition to its figures."""
    versions = {}
    for name, package in (("torch",) * 2, ("ctranslate2",) * 2, ("transformers",) * 2, ("OpenNMT-py", "onmt")):
        found = importlib.util.find_spec(package) is not None
        versions[name] = importlib.metadata.version(name) if found else None
    return {
        "command": command(arguments),
        "environment": {
            "hardware": describe_hardware(choose_device(arguments.device)),
            "nmt": nmt.__version__,
            "python": platform.python_version(),
            **versions,
        },
        "model": run.config.model.family,
        "checkpoint": run.checkpoint.name,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "beam_size": beam_size,
        "left_out": left_out,
    }


def check_agreement(systems: Sequence[System], shared: dict[str, float]) -> None:
    """Report systems whose greedy translations in fp32 often differ from those of nmt in fp32."""
    for system in systems[1:]:
        if systems[0].precision == system.precision == "fp32" and shared[system.name] < AGREEMENT:
            say(f"{system.name}: only {shared[system.name]:.1%} of its greedy translations equal those of nmt")


def search_name(beam_size: int) -> str:
    """Return the name of a search in tables."""
    return "greedy" if beam_size == 1 else f"beam {beam_size}"


def command(arguments: Namespace) -> str:
    """Return the command line without folders of this machine."""
    options = [
        *(["--checkpoint", arguments.checkpoint] if arguments.checkpoint else []),
        *(["--device", arguments.device] if arguments.device != "cpu" else []),
        *(["--engine", *arguments.engine, "--precision", *arguments.precision]),
        *(["--threads", "x".join(map(str, arguments.threads))] if arguments.threads else []),
        *(["--beam-size", *map(str, arguments.beam_size)] if arguments.beam_size else []),
        *(word for override in arguments.search for word in ("--search", override)),
        *(["--sentences", str(arguments.sentences), "--single", str(arguments.single)]),
        *(["--rounds", str(arguments.rounds), *(["--reference"] if arguments.reference else [])]),
    ]
    return " ".join(["python scripts/benchmark_translate.py RUN_DIR --source FILE", *options])


def say(sentence: str) -> None:
    """Print a line to stderr, because stdout is for the results."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
