"""Common parts of the scripts that train and compare systems: text, installed commands, scores, result pages.

An experiment keeps everything in one folder. Unfinished runs in it are resumed, finished runs are used as they are, and
translations are reused if they were made by the same runs. So a script that was stopped continues with the same
command. Use another folder for other text.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nmt.config.data import CorpusConfig
from nmt.config.load import load_config, save_config
from nmt.data.corpora import resolve
from nmt.data.sources import source_of
from nmt.errors import NmtError
from nmt.files import atomic_write
from nmt.runs.run import run_fingerprint

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


class Experiment:
    """A folder of text and runs on the corpus of another folder, and the commands that fill it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read the configuration; `options` are the command-line options that `parser` defines."""
        self.options = options
        self.runs: Path = options.runs
        self.text = self.runs / "text"
        self.overrides = [f"data.path={options.folder.resolve()}", *options.overrides]
        self.config = load_config(options.config, self.overrides)
        self.source, self.target = self.config.data.source_language, self.config.data.target_language
        self.corpora = resolve(self.config.data)
        self.test = options.test_set or next(iter(self.corpora.test), None)
        if self.test not in self.corpora.test:
            sys.exit(f"{options.folder} has no test set {self.test or ''}: choose from {', '.join(self.corpora.test)}")
        self.threads = max(1, (os.cpu_count() or 1) // options.jobs) if options.jobs > 1 else None

    def write_text(self, name: str, pairs: Iterable[tuple[str, str]]) -> CorpusConfig:
        """Write sentence pairs as corpus `name`; raise NmtError if a different corpus of that name exists already."""
        sides = list(zip(*pairs, strict=True))
        for language, lines in zip((self.source, self.target), sides, strict=True):
            path = self.text / f"{name}.{language}"
            if not path.is_file():
                write_lines(path, lines)
            elif path.read_bytes() != "".join(f"{line}\n" for line in lines).encode():
                raise NmtError(
                    f"{path} differs from the text in {self.options.folder}: choose another --runs for other text"
                )
        return CorpusConfig(prefix=str(self.text / name))

    def train_pairs(self) -> list[tuple[str, str]]:
        """Return the training pairs of the folder."""
        return list(source_of(self.corpora.train[0], self.source, self.target).pairs(print))

    def train(
        self,
        name: str,
        corpora: Sequence[CorpusConfig],
        seed: int,
        more: Sequence[str] = (),
        *,
        turned: bool = False,
        updates: int | None = None,
    ) -> Path:
        """Train a system on `corpora` and return its run directory.

        The configuration has the overrides of the command line and then `more`. Training takes `updates` updates
        (default: --updates) with at most ten validations. With `turned`, it translates from target to source.
        """
        config = load_config(self.options.config, [*self.overrides, *more])
        languages = (self.target, self.source) if turned else (self.source, self.target)
        held_out = [self.held_out("val"), self.held_out(str(self.test))]
        config.data = dataclasses.replace(
            config.data,
            source_language=languages[0],
            target_language=languages[1],
            path=None,
            train=list(corpora),
            val=held_out[0],
            test={str(self.test): held_out[1]},
        )
        run_dir = self.runs / name
        config.seed, config.run_dir = seed, str(run_dir)
        training = config.training
        training.max_steps = updates or self.options.updates
        training.max_minutes, training.max_epochs, training.patience = None, None, None
        training.validate_every = max(training.max_steps // 10, min(training.max_steps, 100))
        training.threads = training.threads or self.threads
        save_config(config, self.runs / f"{name}.yaml")
        self.command(name, "nmt-train", self.runs / f"{name}.yaml")
        return run_dir

    def held_out(self, name: str) -> CorpusConfig:
        """Return the validation or test set `name`, copied into the folder of the experiment."""
        (corpus,) = self.corpora.val if name == "val" else self.corpora.test[name]
        return self.write_text(name, source_of(corpus, self.source, self.target).pairs(print))

    def translate(
        self, name: str, run_dirs: Sequence[Path], source: Path, language: str, options: Sequence[str]
    ) -> Path:
        """Return the file with the translations of `source`; translate with these runs and options if it is missing.

        With --sample in the options, the file contains the first sample of each line.
        """
        made_by = "-".join(
            ["", *(run_fingerprint(run_dir)[:8] for run_dir in run_dirs), *(word.strip("-") for word in options)]
        )
        output = self.text / f"{name}{made_by}.{language}"
        if output.is_file():
            return output
        answers = output.with_suffix(".jsonl") if "--sample" in options else output
        words = [*run_dirs, "-i", source, "-o", answers, "--resume", *options]
        self.command(name, "nmt-translate", *words)
        if answers != output:
            records = map(json.loads, answers.read_text("utf-8").split("\n")[:-1])
            write_lines(output, [record["hypotheses"][0]["text"] for record in records])
        return output

    def evaluate(self, run_dir: Path, *more: str) -> dict[str, Any]:
        """Return the scores of a run on the test set of the experiment, not of the run's own configuration."""
        prefix = self.held_out(str(self.test)).prefix
        files = ["--source", f"{prefix}.{self.source}", "--reference", f"{prefix}.{self.target}"]
        said = self.command(f"{run_dir.name}-evaluation", "nmt-evaluate", run_dir, *files, "--json", *more)
        scores: dict[str, Any] = json.loads(said)[0]
        return {key: value for key, value in scores.items() if key != "system"}  # contains a path of this machine

    def command(self, name: str, *words: object) -> str:
        """Run an installed command and return its standard output; log both its output and its messages.

        The command belongs to the Python installation that runs this script.
        """
        path = self.runs / "logs" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        program, *arguments = map(str, words)
        environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(self.threads)} if self.threads else {})
        with path.open("a", encoding="utf-8") as log:
            print(f"$ {shlex.join([program, *arguments])}", file=log, flush=True)
            done = subprocess.run(
                [Path(sys.executable).with_name(program), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
            log.write(done.stdout)
        if done.returncode:
            raise NmtError(f"{program} failed with status {done.returncode}: see the end of {path}")
        return done.stdout

    @contextmanager
    def side_by_side(self) -> Iterator[ThreadPoolExecutor]:
        """Yield a thread pool that runs --jobs trainings at a time; after a failure or Ctrl-C it starts no more."""
        with ThreadPoolExecutor(self.options.jobs) as jobs:
            try:
                yield jobs
            except BaseException:
                jobs.shutdown(wait=False, cancel_futures=True)
                raise

    @property
    def arguments(self) -> list[str]:
        """The arguments of the command line, without the folder."""
        return [word for word in sys.argv[1:] if Path(word) != self.options.folder]

    def write(self, name: str, lines: Sequence[str], figures: dict[str, Any]) -> None:
        """Write the result page and the JSON file with its figures."""
        self.options.results.mkdir(parents=True, exist_ok=True)
        write_lines(self.options.results / f"{name}.md", lines)
        with atomic_write(self.options.results / f"{name}.json") as file:
            file.write(json.dumps(figures, indent=1) + "\n")


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all experiments share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="folder that contains {train,val,TEST}.LANGUAGE")
    made.add_argument(
        "overrides", nargs="*", metavar="key=value", help="overrides for the configuration of every training"
    )
    made.add_argument("--config", default="multi30k_transformer", help="a preset or YAML file (multi30k_transformer)")
    made.add_argument("--updates", type=int, default=6000, help="updates of each training (6000)")
    made.add_argument("--seeds", type=numbers, default=[1], metavar="1,2,...", help="seeds of the trainings (1)")
    made.add_argument(
        "--jobs", type=int, default=1, help="number of trainings at the same time, which share the cores (1)"
    )
    made.add_argument("--test-set", help="name of the test set (default: the first one in the folder)")
    made.add_argument("--runs", type=Path, default=Path("runs") / name, help=f"folder for runs and text (runs/{name})")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder for the result page (docs/results)")
    return made


def among(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return an argument type that accepts some of the known words, separated by commas."""

    def parse(text: str) -> list[str]:
        words = text.split(",")
        if unknown := set(words).difference(known):
            there = ", ".join(known)
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} does not exist: choose from {there}")
        return words

    return parse


def numbers(text: str) -> list[int]:
    """Parse whole numbers separated by commas (an argument type)."""
    return [int(part) for part in text.split(",")]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file that is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def count_lines(path: Path) -> int:
    """Return the number of lines of a text file."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return two table cells: mean and standard deviation (empty for a single value)."""
    return f"{mean(values):.2f} | {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f} | "
