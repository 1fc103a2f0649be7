"""Measure nmt-prepare on many pairs: speed, memory, what a kill costs, and how soon training starts.

usage: python scripts/measure_preparation.py FOLDER SOURCE_LANGUAGE TARGET_LANGUAGE [PAIRS] [--work DIR] [--skip one]

The pairs of the train files in FOLDER are repeated up to PAIRS (default: 10,000,000). From the second repetition on,
two words of each side are swapped and the number of the repetition is appended, so that no pair is an exact duplicate.
The pairs are prepared by one process, by two, and by two that are killed in the middle and started again. Then a small
Transformer is trained until its first update. --skip one leaves out the first measurement. Memory is the sum of the
proportional shares of all processes (Pss of /proc/PID/smaps_rollup), measured twice per second and including mapped
files.

Writes the entry "preparation" of docs/results/data_and_scale.json and its part of the page next to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks import data_and_scale
from benchmarks.watched import Watched

from nmt.config.data import DataConfig
from nmt.data.corpora import resolve
from nmt.data.sources import source_of
from nmt.errors import NmtError

SMALL = [
    *("model.model_dim=128", "model.ffn_dim=256", "model.encoder_layers=2", "model.decoder_layers=2"),
    *("training.max_minutes=null", "training.max_steps=1", "training.validate_every=1", "training.log_every=1"),
    *("training.validation_sentences=8", "training.tokens_per_update=2048", "tokenizer.vocab_size=8000"),
]


def main(arguments: argparse.Namespace) -> None:
    """Measure everything and write the results."""
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        work, languages = Path(name), (arguments.source, arguments.target)
        data = DataConfig(source_language=languages[0], target_language=languages[1], path=arguments.folder)
        write_corpus(data, work, arguments.pairs)
        found: dict[str, Any] = {
            "command": command(arguments),
            "text": Path(arguments.folder).name,
            "pairs": arguments.pairs,
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        }
        if arguments.skip != "one":
            found["one_process"] = measured(prepare(work, "one", languages, 1), arguments.pairs)
            print("one process:", found["one_process"], flush=True)
        found["two_workers"] = measured(prepare(work, "two", languages, 2), arguments.pairs)
        print("two workers:", found["two_workers"], flush=True)
        if "one_process" in found:
            found["ratio"] = found["one_process"]["seconds"] / found["two_workers"]["seconds"]
        found["killed_and_rerun"] = killed(work, languages, found["two_workers"]["seconds"] / 2)
        print("killed:", found["killed_and_rerun"], flush=True)
        found["first_update"] = first_update(work, languages)
    data_and_scale.write(data_and_scale.RESULTS, Path(__file__).name, "preparation", found, part)
    print(table(found))


def command(arguments: argparse.Namespace) -> str:
    """Return the command line without what belongs to this machine."""
    skipped = ["--skip", arguments.skip] if arguments.skip else []
    words = [arguments.source, arguments.target, str(arguments.pairs), *skipped]
    return " ".join(["python scripts/measure_preparation.py FOLDER", *words])


# -- text ---------------------------------------------------------------------------------------------------------


def write_corpus(data: DataConfig, work: Path, pairs: int) -> None:
    """Write the train and val files of both languages into the folder `work`."""
    corpora, languages = resolve(data), (data.source_language, data.target_language)
    train, val = (source_of(corpus, *languages) for corpus in (corpora.train[0], corpora.val[0]))
    write(work, "train", languages, islice(perturbed(lambda: train.pairs(print)), pairs))
    write(work, "val", languages, islice(val.pairs(print), 200))


def perturbed(text: Callable[[], Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Yield the pairs again and again, each time with small changes."""
    yield from text()
    for turn in count(1):
        for number, (source, target) in enumerate(text()):
            yield f"{swapped(source, turn + number)} {turn}", f"{swapped(target, turn + number)} {turn}"


def swapped(line: str, place: int) -> str:
    """Return a line with two neighbouring words swapped."""
    words = line.split(" ")
    if len(words) > 1:
        first = place % (len(words) - 1)
        words[first], words[first + 1] = words[first + 1], words[first]
    return " ".join(words)


def write(work: Path, name: str, languages: tuple[str, str], pairs: Iterator[tuple[str, str]]) -> None:
    """Write pairs as two files."""
    one, other = (work / f"{name}.{language}" for language in languages)
    with one.open("w", encoding="utf-8") as sources, other.open("w", encoding="utf-8") as targets:
        for source, target in pairs:
            sources.write(source + "\n")
            targets.write(target + "\n")


# -- measuring ----------------------------------------------------------------------------------------------------


def prepare(work: Path, cache: str, languages: tuple[str, str], workers: int) -> Watched:
    """Start a preparation."""
    command = [sys.executable, "-m", "nmt.cli.prepare", *arguments_for(work, cache, languages)]
    return Watched([*command, f"data.workers={workers}"])


def arguments_for(work: Path, cache: str, languages: tuple[str, str]) -> list[str]:
    """Return the arguments for nmt-prepare and nmt-train."""
    names = [f"data.source_language={languages[0]}", f"data.target_language={languages[1]}"]
    return ["embedded", f"data.path={work}", f"data.cache={work / cache}", *names, *SMALL]


def measured(watched: Watched, pairs: int) -> dict[str, Any]:
    """Return the figures of a preparation."""
    folder = Path(watched.end())
    fingerprint = json.loads((folder / "train" / "store.json").read_text("utf-8"))["fingerprint"]
    return {
        "seconds": round(watched.seconds, 1),
        "pairs_per_second": round(pairs / watched.seconds),
        "peak_mib": watched.peak >> 20,
        "fingerprint": fingerprint,
    }


def killed(work: Path, languages: tuple[str, str], after: float) -> dict[str, Any]:
    """Kill the first process of a preparation with two workers, run it again, and return the figures."""
    first = prepare(work, "killed", languages, 2)
    time.sleep(after)
    first.kill()
    again = prepare(work, "killed", languages, 2)
    folder = Path(again.end())
    fingerprint = json.loads((folder / "train" / "store.json").read_text("utf-8"))["fingerprint"]
    return {"killed_after": round(after, 1), "seconds_again": round(again.seconds, 1), "fingerprint": fingerprint}


def first_update(work: Path, languages: tuple[str, str]) -> dict[str, Any]:
    """Run nmt-train on the prepared pairs and measure until the line of its first update."""
    command = [sys.executable, "-m", "nmt.cli.train", *arguments_for(work, "two", languages), f"run_dir={work / 'run'}"]
    watched = Watched(command)
    assert watched.process.stderr is not None
    said = []
    for line in watched.process.stderr:
        said.append(line)
        if line.startswith("step 1 "):
            break
    else:
        raise SystemExit("".join(said))
    seconds, peak = time.monotonic() - watched.started, watched.peak
    watched.end()
    return {"seconds": round(seconds, 1), "peak_mib": peak >> 20}


# -- the page -----------------------------------------------------------------------------------------------------


def part(found: dict[str, Any]) -> list[str]:
    """Return the results as a part of the page."""
    same = {found[name]["fingerprint"] for name in ("one_process", "two_workers", "killed_and_rerun") if name in found}
    return [
        f"## Preparation of {found['pairs']:,} pairs",
        "",
        "How long does it take to clean a large corpus, split it into pieces and store it, and what does a kill cost?",
        f"Text of {found['text']}, repeated with small changes, a joint vocabulary of 8,000, {found['cores']} cores,",
        f"measured by `{found['command']}`. Memory is the sum over the processes of their",
        "proportional shares (Pss), read twice per second.",
        "",
        table(found),
        "",
        "All stores have the same fingerprint." if len(same) == 1 else "**The stores differ.**",
        "",
    ]


def table(found: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    rows = ["| | seconds | pairs/s | peak, MiB |", "|---|---:|---:|---:|"]
    for name, words in (("one_process", "one process"), ("two_workers", "two workers")):
        if name in found:
            entry = found[name]
            rows.append(f"| {words} | {entry['seconds']} | {entry['pairs_per_second']:,} | {entry['peak_mib']:,} |")
    if "ratio" in found:
        rows.append(f"| two workers, times as fast as one process | {found['ratio']:.2f} x | | |")
    again = found["killed_and_rerun"]
    rows.append(f"| two workers, resumed after a kill at {again['killed_after']} s | {again['seconds_again']} | | |")
    start = found["first_update"]
    rows.append(f"| `nmt-train`, until its first update | {start['seconds']} | | {start['peak_mib']:,} |")
    return "\n".join(rows)


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("pairs", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--work", help="folder for temporary files")
    parser.add_argument("--skip", choices=["one"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        main(parse(sys.argv[1:]))
    except NmtError as error:
        raise SystemExit(f"measure_preparation.py: {error}") from None
