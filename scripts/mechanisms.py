"""Train a small recurrent system with each mechanism of attention, score it, and write docs/results/mechanisms.md.

usage: python scripts/mechanisms.py FOLDER --speeds; python scripts/mechanisms.py FOLDER
       both take [--minutes 8] [--only NAME ...] [--runs runs/mechanisms]

FOLDER contains Multi30k: {train,val,test_2016_flickr}.{de,en}. With --speeds, each system is trained for half a minute,
on one thread, to find out how many updates it makes in the given minutes; run it on a machine that does nothing else.
Without, each system is trained for that many updates, so that what else the machine does changes nothing. Several calls
with different --only can run side by side, one per core. What has been measured is skipped. To compare alignments,
where Multi30k has no gold ones, IBM model 1 links the words of the test set in both directions: links found by both
count as sure, links found by one as possible.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.config.load import config_to_yaml, load_config
from nmt.data.compression import read_lines
from nmt.data.lexicon import learn_lexicon
from nmt.files import atomic_write, in_turn

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
TEST = "test_2016_flickr"
BASE = [
    *("data.source_language=de", "data.target_language=en", "model=luong", "training=rnn", "tokenizer.vocab_size=4000"),
    *("training.precision=native", "training.threads=1", "training.tokens_per_update=1300"),
    *("training.learning_rate=3e-3", "training.validate_every=250", "training.validation_sentences=null"),
    "training.patience=null",
]
ANSWER = """\
A fixed vector (`rnn_encdec`) is 12 points of BLEU below attention. Scores and windows differ by
much less, 37.5 to 41.0, where one seed says nothing about a point more or less. Even `local_m`,
whose window moves at a fixed speed, keeps up, since German and English captions have a similar
word order. Hard attention that is trained by sampling is worse than soft attention, by 5.3 points
with input feeding (34.8 against 40.1) and by 2.9 without (38.0 against 40.9);
[attention.md](../attention.md) says why. The exact marginal is slow: it had an eighth of the
updates.

With the score `scaled_dot`, sparsemax and entmax with a learned alpha are 2.1 and 1.1 points better
than the softmax, and as fast. For 1.5-entmax (0.7 points better) one seed shows no difference;
`top_k` is 1.3 points worse. With the score `general`, the model did not learn to align with
sparsemax: after 400 updates its weights were nearly one-hot (0.97 on one word, in 69%
of the cases the end of the sentence), and a weight of exactly one has no gradient to leave it.
`scaled_dot` keeps scores smaller. ReLA fails: at most target positions no score is positive, so
that they attend to nothing, and a ReLU at zero has no gradient to change that. With 320 features
instead of 256, or without input feeding, it learns ([hard_and_sparse.md](hard_and_sparse.md))."""
NO_FEEDING = "model.input_feeding=false"
# the section of the table, and then the overrides of each system's name; the first system is the one all differ from
SYSTEMS: dict[str, dict[str, list[str]]] = {
    "the system that the others differ from": {"luong": []},
    "scores": {
        "dot": ["model.score=dot"],
        "scaled_dot": ["model.score=scaled_dot"],
        "additive": ["model.score=additive"],
        "location": ["model.score=location"],
    },
    "normalisers, with the score scaled_dot": {
        name: [f"model.normaliser={name}", "model.score=scaled_dot"]
        for name in ("sparsemax", "entmax15", "entmax", "rela", "top_k")
    },
    "the same with the score general": {"sparsemax_general": ["model.normaliser=sparsemax"]},
    "alignments": {
        "local_m": ["model.alignment=local_m"],
        "local_p": ["model.alignment=local_p"],
        "gaussian": ["model.alignment=gaussian"],
        "coverage": ["model.alignment=coverage", "model.score=additive"],
        "location_aware": ["model.alignment=location_aware", "model.score=additive"],
        "hard": ["model.alignment=hard"],
        "monotonic": ["model.alignment=monotonic", "model.score=additive"],
        "doubly_stochastic": ["model.doubly_stochastic=0.1"],
    },
    "without input feeding": {
        "no_feeding": [NO_FEEDING],
        "hard_no_feeding": [NO_FEEDING, "model.alignment=hard"],
        "marginal": [NO_FEEDING, "model.alignment=marginal"],
    },
    "cells": {
        "gru": ["model.cell=gru"],
        "sru": ["model.cell=sru", "model.layers=2", "training.learning_rate=1e-3"],  # diverges at 3e-3
        "lrn": ["model.cell=lrn", "model.layers=2"],
        "residual": ["model.layers=3", "model.residual=true", "model.layer_norm=true"],
    },
    "other decoders": {
        "rnn_encdec": ["model=rnn_encdec"],
        "rnnsearch": ["model=rnnsearch"],
    },
}
OVERRIDES = {name: overrides for section in SYSTEMS.values() for name, overrides in section.items()}
FIRST = next(iter(OVERRIDES))


def main() -> None:
    """Measure the speed of each system, or train, score and align with each; write what is found at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speeds", action="store_true")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", nargs="+", choices=OVERRIDES, default=list(OVERRIDES), metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/mechanisms"))
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    gold = options.runs / "ibm_model_1.align"
    if not options.speeds and not gold.is_file():
        write_links(options.folder, gold)
    for name in options.only:
        known = measured(name)
        if options.speeds and "speed" not in known:
            add(name, measure_speed(options, name))
        elif not options.speeds and "bleu" not in known:
            if "speed" not in known:
                sys.exit(f"the speed of {name} is not known yet: run this with --speeds first")
            add(name, measure_quality(options, name, gold, known["speed"]))


def measure_speed(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Train one system for half a minute, and return its speed."""
    run = options.runs / "speeds" / name
    limits = ["training.max_minutes=0.5", "training.validate_every=100000", "training.log_every=2"]
    logged = [event for event in train(options, name, run, *limits) if event["event"] == "train"]
    first, last = logged[0], logged[-1]
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    return {
        "speed": {
            "target_tokens_per_second": median(event["target_tokens_per_second"] for event in logged[1:]),
            "updates_per_minute": (last["step"] - first["step"]) / (last["minutes"] - first["minutes"]),
            "environment": {key: environment[key] for key in ("hardware", "torch", "cpu_threads", "git_commit")},
        },
        "parameters": environment["parameters"],
    }


def measure_quality(options: argparse.Namespace, name: str, gold: Path, speed: dict[str, Any]) -> dict[str, Any]:
    """Train one system for the updates that it makes in the given minutes, and return the figures of its row."""
    run = options.runs / name
    updates = allowed({"speed": speed, "minutes": options.minutes})
    events = train(options, name, run, f"training.max_steps={updates}")
    (scores,) = json.loads(command("nmt-evaluate", run, "--test-set", TEST, "--json"))
    return {
        "minutes": options.minutes,
        "overrides": OVERRIDES[name],
        "updates": updates,
        "bleu": scores["bleu"],
        "aer": alignment_error(options.folder, run, gold),
        "validation_loss": min(event["loss"] for event in events if event["event"] == "validation"),
    }


def train(options: argparse.Namespace, name: str, run: Path, *limits: str) -> list[dict[str, Any]]:
    """Train one system up to the given limits, and return the events of its training."""
    data = [f"data.path={options.folder}", f"data.cache={options.runs / 'prepared'}"]
    config = load_config("example", [*BASE, *OVERRIDES[name], *data, "training.max_minutes=null", *limits])
    run.parent.mkdir(exist_ok=True)
    with atomic_write(run.with_suffix(".yaml")) as file:
        file.write(config_to_yaml(config))
    command("nmt-train", run.with_suffix(".yaml"), f"run_dir={run}")
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def alignment_error(folder: Path, run: Path, gold: Path) -> float | None:
    """Return the alignment error rate of a system's attention on the test set; None for a system without attention."""
    if load_config(str(run / "config.yaml")).model.family == "rnn_encdec":
        return None
    text = ["--source", folder / f"{TEST}.de", "--target", folder / f"{TEST}.en"]
    found = json.loads(command("nmt-align", run, *text, "--gold", gold, "--json", "-o", run / "links.txt"))
    aer: float = found["aer"]
    return aer


def write_links(folder: Path, path: Path) -> None:
    """Link the words of the test set by IBM model 1, learned from training and test text in both directions."""
    sides = []
    for language in ("de", "en"):
        train, test = (read_lines(folder / f"{split}.{language}") for split in ("train", TEST))
        ids: dict[str, int] = {}
        words = [[ids.setdefault(word.lower(), len(ids)) for word in line.split()] for line in (*train, *test)]
        sides.append([np.array(line, dtype=np.int64) for line in words])
    count = len(test)
    forward, backward = best_links(*sides, count), best_links(*reversed(sides), count)
    lines = []
    for one, other in zip(forward, backward, strict=True):
        there, back = set(one), {(source, target) for target, source in other}
        links = [f"{s}-{t}" if (s, t) in there & back else f"{s}?{t}" for s, t in sorted(there | back)]
        lines.append(" ".join(links) + "\n")
    with atomic_write(path) as file:
        file.writelines(lines)


def best_links(
    sources: Sequence[NDArray[np.int64]], targets: Sequence[NDArray[np.int64]], count: int
) -> list[list[tuple[int, int]]]:
    """Return the links (i, j) of the last `count` pairs, where word i of the source is the most probable for word j."""
    lexicon = learn_lexicon(list(zip(sources, targets, strict=True)))
    known = zip(lexicon.sources.tolist(), lexicon.targets.tolist(), strict=True)
    probability = dict(zip(known, lexicon.probabilities.tolist(), strict=True))
    return [
        [(max(range(len(source)), key=lambda i: probability[source[i], word]), j) for j, word in enumerate(target)]
        for source, target in zip(
            [ids.tolist() for ids in sources[-count:]], [ids.tolist() for ids in targets[-count:]], strict=True
        )
    ]


def command(program: str, *words: object) -> str:
    """Run an installed command on one thread and return its output; exit if it fails."""
    print(f"$ {program} {' '.join(map(str, words))}", flush=True)
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{program} failed with status {done.returncode}")
    return done.stdout


def measured(name: str) -> dict[str, Any]:
    """Return what has been measured of a system so far."""
    return every().get(name, {})


def every() -> dict[str, dict[str, Any]]:
    """Return what has been measured so far, by the name of the system."""
    path = RESULTS / "mechanisms.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def add(name: str, figures: dict[str, Any]) -> None:
    """Add the figures of a system, and write the page."""
    with in_turn(RESULTS / ".mechanisms.lock"):
        found = every()
        found[name] = found.get(name, {}) | figures
        found = {each: found[each] for each in OVERRIDES if each in found}
        with atomic_write(RESULTS / "mechanisms.json") as file:
            json.dump(found, file, indent=1)
        with atomic_write(RESULTS / "mechanisms.md") as file:
            file.write(page({each: row for each, row in found.items() if "bleu" in row and "speed" in row}))


def page(found: dict[str, dict[str, Any]]) -> str:
    """Return the page: the table, and what is needed to read it."""
    if not found:
        return ""
    some = next(iter(found.values()))
    base = found.get(FIRST, some)
    lines = [
        "# What does each mechanism of attention give a small recurrent system?",
        "",
        ANSWER,
        "",
        f"Multi30k, German to English. Every system was trained for as many updates as it makes in {some['minutes']:g}",
        "minutes on one core, except the three systems that are named below the table. The first row is",
        "Luong's model with input feeding and the general score; `keys` says what each other row changes:",
        "",
        "| system | keys | BLEU | val loss | AER | updates | target tokens/s | of luong's | parameters |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for section, systems in SYSTEMS.items():
        if not (present := [name for name in systems if name in found]):
            continue
        lines.append(f"| *{section}* | | | | | | | | |")
        lines += [line(name, found[name], base) for name in present]
    environment = some["speed"]["environment"]
    lines += [
        "",
        "- BLEU is that of test_2016_flickr, with beam 5",
        f"  (`{some['bleu']['signature']}`). One seed each: small differences may be chance.",
        "- AER compares the attention with word alignments by IBM model 1, because Multi30k has no gold",
        "  ones; it shows how far both agree, not which of them is right.",
        "- The speed is the median over half a minute of training, two systems side by side with a core each",
        "  (the normalisers with `scaled_dot` one at a time), on",
        f"  {environment['hardware']}, torch {environment['torch']}, with `training.precision=native`.",
        "  A slower system has fewer updates in the same time.",
        *(
            f"- {name} was trained for {row['updates']:,} updates; at this speed it had time for {allowed(row):,}."
            for name, row in found.items()
            if row["updates"] < 0.98 * allowed(row)
        ),
        "",
        "The commands, where FOLDER contains Multi30k:",
        "",
        "```",
        "python scripts/mechanisms.py FOLDER --speeds",
        "python scripts/mechanisms.py FOLDER",
        "```",
        "",
        "All figures: [mechanisms.json](mechanisms.json). The mechanisms: [attention.md](../attention.md).",
        "",
    ]
    return "\n".join(lines)


def allowed(row: dict[str, Any]) -> int:
    """Return the updates that a system makes in the minutes of its row."""
    return round(row["speed"]["updates_per_minute"] * row["minutes"])


def line(name: str, row: dict[str, Any], base: dict[str, Any]) -> str:
    """Return the line of the table for one system."""
    keys = " ".join(f"`{override}`" for override in row["overrides"])
    aer = "" if row["aer"] is None else f"{row['aer']:.3f}"
    speed, its = (each["speed"]["target_tokens_per_second"] for each in (row, base))
    return (
        f"| {name} | {keys} | {row['bleu']['score']:.2f} | {row['validation_loss']:.3f} | {aer} | {row['updates']:,} "
        f"| {speed:,.0f} | {speed / its:.2f} | {row['parameters']:,} |"
    )


if __name__ == "__main__":
    main()
