"""Trials: each takes a workplace, an empty folder and random numbers, and returns what went wrong, or None."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.torture import damage
from tests.torture.calls import Call, Outcome, run
from tests.torture.workplace import Workplace, contents, leftovers, scores_of, weights_of

Trial = Callable[["Trials", Path, Random], str | None]
READERS = ("native", "ctranslate2", "shortlist", "align", "evaluate", "compare", "resume", "average", "export")


class Trials(NamedTuple):
    """A workplace and the right answers of its readers."""

    place: Workplace
    answers: dict[str, object]


def prepare(place: Workplace, folder: Path) -> Trials:
    """Run every reader once on whole files, and keep its answers."""
    trials = Trials(place, {})
    for reader in READERS:
        run_dir = damage.copy(place.run, folder / reader / "run")
        outcome, answer = read(trials, reader, run_dir)
        assert outcome.status == 0, f"{reader}: {outcome}"
        trials.answers[reader] = answer
    outcome, answer = train_on_store(trials, place.cache, folder / "store")
    assert outcome.status == 0, outcome
    trials.answers["store"] = answer
    return trials


def call_of(trials: Trials, reader: str, run_dir: Path) -> Call:
    """Return the call of a command that reads a run; what it writes goes beside the run."""
    place, beside = trials.place, run_dir.parent
    text = ["--source", str(place.corpus / "test.de"), "--target", str(place.corpus / "test.en")]
    return {
        "native": Call("translate", [str(run_dir), "--n-best", "2"], place.lines),
        "ctranslate2": Call("translate", [str(run_dir), "--engine", "ctranslate2"], place.lines),
        "shortlist": Call("translate", [str(run_dir), "--search", "shortlist=true", "--n-best", "2"], place.lines),
        "align": Call("align", [str(run_dir), *text]),
        "evaluate": Call("evaluate", [str(run_dir)]),
        "compare": Call("compare", [str(run_dir), "-o", str(beside / "report")]),
        "resume": Call("train", place.training(run_dir, "training.max_steps=60")),
        "average": Call("average", [str(run_dir), "--of", "last"]),
        "export": Call("export", [str(run_dir), "-o", str(beside / "export")]),
    }[reader]


def read(trials: Trials, reader: str, run_dir: Path) -> tuple[Outcome, object]:
    """Run a command that reads a run, and return its outcome and its answer."""
    outcome, beside = run(call_of(trials, reader, run_dir)), run_dir.parent
    if outcome.status != 0:
        return outcome, None
    if reader == "average":
        return outcome, outcome.out.replace(str(beside), "")
    if reader == "evaluate":
        scores = json.loads((run_dir / "evaluations" / "test" / "scores.json").read_text("utf-8"))
        return outcome, [scores[metric] for metric in ("bleu", "chrf", "ter")]
    if reader == "compare":
        return outcome, scores_of(beside / "report")
    if reader == "resume":
        return outcome, weights_of(run_dir)
    if reader == "export":
        return outcome, (beside / "export" / "model.bin").read_bytes()
    return outcome, outcome.out


def train_on_store(trials: Trials, cache: Path, beside: Path) -> tuple[Outcome, object]:
    """Train a few updates on prepared data, and return the outcome and the weights."""
    run_dir = beside / "run"
    outcome = run(Call("train", trials.place.training(run_dir, "training.max_steps=6", cache=cache)))
    return outcome, weights_of(run_dir) if outcome.status == 0 else None


def damaged_run(trials: Trials, folder: Path, random: Random) -> str | None:
    """Damage a file of a run, and read the run: the right answer, or a sentence."""
    run_dir = damage.copy(trials.place.run, folder / "run")
    file = random.choice(sorted(path for path in run_dir.rglob("*") if path.is_file()))
    reader, way = random.choice(READERS), random.choice(damage.ways_for(file))
    way(file, random)
    outcome, answer = read(trials, reader, run_dir)
    what = f"{way.__name__} of {file.relative_to(folder)}, {reader}"
    return judged(what, outcome, may_differ(file) or answer == trials.answers[reader], file)


def may_differ(file: Path) -> bool:
    """Return whether an answer may differ: an edited configuration asks for others, and logs are not checked."""
    return file.name in ("config.yaml", "metrics.jsonl", "environment.json") or "tensorboard" in file.parts


def damaged_store(trials: Trials, folder: Path, random: Random) -> str | None:
    """Damage a file of prepared data, and train on it: the right weights, or a sentence."""
    cache = damage.copy(trials.place.cache, folder / "prepared")
    file = random.choice(sorted(path for path in cache.rglob("*") if path.is_file()))
    way = random.choice(damage.ways_for(file))
    way(file, random)
    outcome, answer = train_on_store(trials, cache, folder)
    what = f"{way.__name__} of {file.relative_to(folder)}, train"
    return judged(what, outcome, answer == trials.answers["store"], file)


def judged(what: str, outcome: Outcome, right: bool, file: Path) -> str | None:
    """Return what is wrong with an outcome; None if it is the right answer, or a sentence that names the file."""
    if "Traceback" in outcome.err:
        return f"{what}: a traceback: {outcome.err[-3000:]}"
    if outcome.timed_out:
        return f"{what}: no end after {outcome.seconds:.0f} s"
    if outcome.status < 0:
        return f"{what}: ended by signal {-outcome.status}"
    if outcome.status == 0:
        return None if right else f"{what}: another answer without an error; stderr: {outcome.err[-600:]}"
    last = outcome.err.strip().splitlines()[-1:] or [""]
    if not last[0].startswith("nmt-") or "error: " not in last[0]:
        return f"{what}: status {outcome.status} without a sentence: {outcome.err[-600:]}"
    # a missing or damaged file may be named by the folder that it makes useless
    names = (file.name, *(parent.name for parent in file.parents[:3]))
    return None if any(name in last[0] for name in names) else f"{what}: the sentence names no file: {last[0]}"


def killed(trials: Trials, folder: Path, random: Random) -> str | None:
    """Kill a command at a random moment and run it again: the result is that of an undisturbed one."""
    reader = random.choice(["prepare", "train", *READERS])
    run_dir = folder / "run"
    seconds = random.random() * {"train": 8, "prepare": 2, "resume": 3, "compare": 2}.get(reader, 1.2)
    if reader in ("prepare", "train"):
        call = Call(reader, trials.place.training(run_dir, "training.max_steps=6", cache=folder / "prepared"))
        run(call, kill_at=seconds)
        outcome = run(call)
        if reader == "prepare":
            answer, expected = contents(folder / "prepared"), contents(trials.place.cache)
        else:
            answer, expected = weights_of(run_dir) if outcome.status == 0 else None, trials.answers["store"]
    else:
        damage.copy(trials.place.run, run_dir)
        shutil.rmtree(run_dir / "exports", ignore_errors=True)  # to be made anew
        if reader == "evaluate":
            shutil.rmtree(run_dir / "evaluations")
        run(call_of(trials, reader, run_dir), kill_at=seconds)
        outcome, answer = read(trials, reader, run_dir)
        expected = trials.answers[reader]
    what = f"{reader} killed after {seconds:.2f} s and run again"
    if outcome.status != 0:
        return f"{what}: status {outcome.status}: {outcome.err[-1500:]}"
    if answer != expected:
        return f"{what}: another result"
    left = leftovers(folder)
    return f"{what}: leaves {left}" if left else None
