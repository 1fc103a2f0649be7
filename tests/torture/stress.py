"""Bad circumstances: few file handles, a full disk, closed streams, other locales, and several commands at once."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.torture import damage
from tests.torture.calls import Call, run
from tests.torture.trials import READERS, Trials, call_of, judged, read
from tests.torture.workplace import leftovers

Circumstance = Callable[[], None]


def few_handles() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))


def full_disk() -> None:
    """Let no file grow past 20 KB: writing on fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def closed_stderr() -> None:
    os.close(2)


def full_stdout() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))


CIRCUMSTANCES: list[Circumstance] = [few_handles, full_disk, closed_stderr, full_stdout, little_memory]


def starved(trials: Trials, folder: Path, random: Random) -> str | None:
    """Run a command under bad circumstances: the right answer or a sentence, nothing left behind, nothing lost."""
    run_dir = damage.copy(trials.place.run, folder / "run")
    reader, how = random.choice(READERS), random.choice(CIRCUMSTANCES)
    if reader == "ctranslate2" and random.random() < 0.5:
        shutil.rmtree(run_dir / "exports")
    outcome = run(call_of(trials, reader, run_dir), before=how)
    what = f"{reader}, {how.__name__}"
    if "Traceback" in outcome.err:
        return f"{what}: a traceback: {outcome.err[-3000:]}"
    if outcome.timed_out or outcome.status < 0:
        return f"{what}: status {outcome.status} after {outcome.seconds:.0f} s"
    if outcome.status != 0 and how is not closed_stderr and "error: " not in outcome.err:
        return f"{what}: status {outcome.status} without a sentence: {outcome.err[-600:]}"
    if any(advice in outcome.err for advice in ("remove it", "truncated", "damaged", "corrupted")):
        return f"{what}: the system's fault is taken for damage: {outcome.err[-600:]}"
    if left := leftovers(folder):
        return f"{what}: leaves {left}"
    outcome, answer = read(trials, reader, run_dir)
    return judged(f"{what}, then again", outcome, answer == trials.answers[reader], run_dir)


def read_while_training(trials: Trials, folder: Path, random: Random) -> str | None:
    """Translate with `last` again and again beside a training that keeps one checkpoint: never an error."""
    run_dir = folder / "run"
    more = ("training.keep_last=1", "training.keep_best=1", "training.max_steps=100000", "training.checkpoint_every=1")
    training = os.fork()
    if training == 0:
        run(Call("train", trials.place.training(run_dir, *more)), limit=25)
        os._exit(0)
    try:
        deadline = time.monotonic() + 20
        while not (run_dir / "checkpoints" / "last").is_file():
            if time.monotonic() > deadline:
                return "read_while_training: no checkpoint in 20 s"
            time.sleep(0.05)
        for _ in range(8):
            outcome = run(Call("translate", [str(run_dir), "--checkpoint", "last"], trials.place.lines))
            if outcome.status != 0 or "Traceback" in outcome.err:
                return f"read_while_training: status {outcome.status}: {outcome.err[-2000:]}"
        return None
    finally:
        os.waitpid(training, 0)


def moved_while_training(trials: Trials, folder: Path, random: Random) -> str | None:
    """Move a run directory while it trains: the training ends with a sentence and writes nothing to the old place."""
    run_dir, moved = folder / "run", folder / "moved"
    mover = os.fork()
    if mover == 0:
        while not (run_dir / "checkpoints" / "last").is_file():
            time.sleep(0.02)
        time.sleep(random.random())
        run_dir.rename(moved)
        os._exit(0)
    more = ("training.max_steps=100000", "training.max_minutes=0.5", "training.checkpoint_every=2")
    outcome = run(Call("train", trials.place.training(run_dir, *more)), limit=60)
    os.waitpid(mover, 0)
    if "Traceback" in outcome.err or outcome.status != 1 or "error: " not in outcome.err:
        return f"moved_while_training: status {outcome.status}: {outcome.err[-2000:]}"
    return f"moved_while_training: {run_dir} is there again" if run_dir.exists() else None
