"""A process of test_distributed.py: take part in several trainings, one after the other, with mishaps.

Its arguments are CONFIG.yaml[:MISHAP:RANK] ...
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from nmt.cli.common import Parser, run_command
from nmt.config.load import read_config
from nmt.errors import NmtError
from nmt.training import keeping, monitor, validation
from nmt.training.distributed import joined
from nmt.training.objective import Gradients
from nmt.training.train import train
from nmt.training.trainer import Trainer
from nmt.training.trial import Trial
from nmt.training.validation import Validator


def terminate(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(*_: Any) -> NoReturn:
    raise NmtError("this process can go on no more")


def move(trainer: Any, *_: Any) -> None:
    run_dir = Path(trainer.keeper.run_dir)
    run_dir.rename(run_dir.with_name("moved"))


def find_little(*_: Any) -> int:
    return 75


def poison(gradients: Any, *_: Any) -> None:
    """Set an element of the first weight of the model to infinity."""
    next(weight for weight in gradients._objective.parameters()).data.flatten()[0] = float("inf")


MISHAPS: dict[str, tuple[Any, str, int, Callable[..., Any]]] = {  # owner, method, number of its call, mishap
    "terminated": (Gradients, "of", 5, terminate),
    "terminated in validation": (Validator, "nll", 1, terminate),
    "killed": (Gradients, "of", 5, kill),
    "refused": (Gradients, "of", 5, refuse),
    "refused in saving": (keeping, "save_checkpoint", 1, refuse),
    "short of memory": (Trial, "find", 1, find_little),
    "moved": (Trainer, "train_step", 2, move),
    "poisoned": (Gradients, "of", 5, poison),
}


def befall(mishap: str) -> Callable[[], None]:
    """Install a mishap, and return a function that removes it again."""
    owner, name, number, happen = MISHAPS[mishap]
    original, calls = getattr(owner, name), []

    def struck(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == number and (instead := happen(*arguments)) is not None:
            return instead
        return original(*arguments)

    setattr(owner, name, struck)
    return lambda: setattr(owner, name, original)


def work(arguments: Any) -> None:
    with joined() as world:
        for job in arguments.jobs:
            path, mishap, rank = (*job.split(":"), "", "")[:3]
            restore = befall(mishap) if mishap and int(rank) == world.rank else lambda: None
            try:
                train(read_config(path), world)
            except SystemExit as left:
                print(f"left with {left.code}", file=sys.stderr)
            restore()


def main(arguments: Sequence[str]) -> int:
    """Train, and return the exit status."""
    torch.set_num_threads(1)
    validation.unigram_entropy = lambda val, vocabulary: 99.0  # so that even early validations are translated
    monitor.heatmap_array = lambda *attention: np.zeros((2, 2, 3), dtype=np.uint8)  # drawing takes longer than training
    parser = Parser("ranks", "JOB ...", "Train.")
    parser.add_argument("jobs", nargs="+")
    return run_command(parser, work, arguments)
