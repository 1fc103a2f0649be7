"""Measure the translation of a corpus by several processes: speed, memory, and what a kill in the middle costs.

usage: python scripts/measure_corpus.py RUN_DIR SOURCE_FILE [LINES] [--workers N] [--beam-size N] [--work DIR]

The lines of SOURCE_FILE are repeated to make a text of LINES lines (default: 1,000,000) and one of a tenth of that. The
small text is translated without interruption. While the large one is translated, all processes are killed in the
middle, and the command is given again with --resume. Finished shards must not be changed again, and every repetition of
a line must have the same translation, at its place.

Writes docs/results/corpus_translation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.watched import LOOKS, Watched

from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "corpus_translation.json"


def main(arguments: argparse.Namespace) -> None:
    """Measure everything and write the results."""
    lines = [line + b"\n" for line in Path(arguments.source).read_bytes().removesuffix(b"\n").split(b"\n")]
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        tenth, whole = (Corpus(Path(name), lines, count) for count in (arguments.lines // 10, arguments.lines))
        first = watch(arguments, tenth)
        first.end()
        say("a tenth", figures(tenth.count, first))
        killed = watch(arguments, whole)
        while killed.process.poll() is None and whole.written() < 5 * tenth.output.stat().st_size:
            time.sleep(LOOKS)
        killed.kill(group=True)
        finished = whole.finished()
        say("killed", {"seconds": round(killed.seconds, 1), "finished_shards": len(finished)})
        again = watch(arguments, whole, "--resume")
        kept = shards_kept(whole, finished, again)
        again.end()
        found = {
            "command": f"python scripts/measure_corpus.py RUN_DIR FILE {arguments.lines} --workers {arguments.workers} "
            f"--beam-size {arguments.beam_size}",
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "tenth": figures(tenth.count, first),
            "killed": {"seconds": round(killed.seconds, 1), "peak_mib": killed.peak >> 20},
            "finished_shards": len(finished),
            "finished_shards_kept": kept,
            "resumed": {"seconds": round(again.seconds, 1), "peak_mib": again.peak >> 20},
            "lines": whole.count,
            "lines_out_of_place": tenth.out_of_place() + whole.out_of_place(),
        }
    with atomic_write(RESULTS) as file:
        file.write(json.dumps(found, indent=1) + "\n")
    say("found", found)


class Corpus:
    """A file of repeated lines, and the file of their translations."""

    def __init__(self, folder: Path, lines: list[bytes], count: int) -> None:
        self.period, self.count = len(lines), count
        self.source, self.output = folder / f"{count}.source", folder / f"{count}.output"
        with self.source.open("wb") as file:
            file.writelines(islice(cycle(lines), count))

    def finished(self) -> dict[Path, os.stat_result]:
        """Return the finished shards with their size and time; none while shards are being joined."""
        folder = self.output.with_name(f"{self.output.name}.parts")
        try:
            return {path: path.stat() for path in folder.glob("shard-*")}
        except FileNotFoundError:
            return {}

    def written(self) -> int:
        """Return the number of bytes in finished shards."""
        return sum(stat.st_size for stat in self.finished().values())

    def translations(self) -> Iterator[bytes]:
        """Yield the lines of the translation."""
        with self.output.open("rb") as file:
            yield from file

    def out_of_place(self) -> int:
        """Count lines that differ from the first translation of their source, and lines too few or too many."""
        first = list(islice(self.translations(), self.period))
        pairs = zip(self.translations(), islice(cycle(first), self.count), strict=False)
        right = sum(line == expected for line, expected in pairs)
        return max(self.count, sum(1 for _ in self.translations())) - right


def watch(arguments: argparse.Namespace, corpus: Corpus, *more: str) -> Watched:
    """Start the translation of a corpus."""
    command = [sys.executable, "-m", "nmt.cli.translate", arguments.run_dir]
    files = ["--input", str(corpus.source), "--output", str(corpus.output)]
    numbers = ["--workers", str(arguments.workers), "--beam-size", str(arguments.beam_size)]
    return Watched([*command, *files, *numbers, *more])


def shards_kept(corpus: Corpus, finished: dict[Path, os.stat_result], running: Watched) -> int:
    """Return how many of the `finished` shards are still unchanged shortly before `running` ends."""
    kept = 0
    while running.process.poll() is None:
        there = corpus.finished()
        if finished.keys() <= there.keys():
            kept = sum(there[path].st_mtime_ns == stat.st_mtime_ns for path, stat in finished.items())
        time.sleep(1)
    return kept


def figures(lines: int, watched: Watched) -> dict[str, Any]:
    """Return the figures of an uninterrupted translation."""
    return {
        "lines": lines,
        "seconds": round(watched.seconds, 1),
        "lines_per_second": round(lines / watched.seconds),
        "peak_mib": watched.peak >> 20,
    }


def say(name: str, found: dict[str, Any]) -> None:
    """Print a result immediately, because the whole measurement takes long."""
    print(f"{name}:", json.dumps(found), flush=True)


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("run_dir")
    parser.add_argument("source")
    parser.add_argument("lines", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--work", help="folder for temporary files")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse(sys.argv[1:]))
