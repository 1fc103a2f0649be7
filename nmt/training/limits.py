"""Where a run stands, when it ends, and how a signal ends it early."""

from __future__ import annotations

import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from nmt.config.schema import TrainingConfig

_UNTRIED = 0.3  # the share of max_minutes until a trial tells how long a validation takes


class Rank(NamedTuple):
    """What a validation is ranked by: the higher score is the better one, and of equal scores the lower loss."""

    score: float  # by training.best_metric
    negative_loss: float


@dataclass
class TrainingProgress:
    """How far a run is; a checkpoint keeps it."""

    step: int = 0  # updates done
    epoch: int = 0  # of the next update
    position: int = 0  # of the next update within its epoch
    seconds: float = 0.0  # wall clock since the first update, validation included, over all resumptions
    validated_step: int = 0  # of the last validation
    validation_seconds: float = 0.0  # of the last validation with translations, or as a trial estimates it
    saving_seconds: float = 0.0  # of the last checkpoint
    paused_seconds: float = 0.0  # of all validations and checkpoints so far
    translates: bool = False  # whether a validation has been translated: all after it are
    ran_out: float = 0.0  # the training.max_minutes that it has ended for
    best: list[tuple[Rank, int]] = field(default_factory=list)  # and the step of each, best first
    stale: int = 0  # validations since the last improvement
    ended: bool = False  # all that comes at the end of training is done, too
    rollbacks: int = 0  # times that training went back to a checkpoint after a bad update

    @property
    def minutes(self) -> float:
        """Wall clock since the first update."""
        return self.seconds / 60

    def validated(self, rank: Rank, keep_best: int) -> bool:
        """Enter a validation of the present step; whether it is the best so far."""
        improved = not self.best or rank > self.best[0][0]
        self.stale = 0 if improved else self.stale + 1
        ranked = sorted([*self.best, (rank, self.step)], key=lambda entry: entry[0], reverse=True)
        self.best = ranked[:keep_best]  # of equal ranks the earlier step
        self.validated_step = self.step
        return improved

    def is_among_best(self) -> bool:
        """Whether the present step is one of those kept for their score."""
        return any(step == self.step for _, step in self.best)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self) | {"best": [(*rank, step) for rank, step in self.best]}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> TrainingProgress:
        """Continue from a checkpoint.

        Older ones have no losses with their best scores: what ties with such a score counts as better. They come from
        when each validation was translated.
        """
        best = [(Rank(score, *(loss or [-math.inf])), step) for score, *loss, step in state["best"]]
        return cls(**{"translates": True, **state, "best": best})


def end_reason(config: TrainingConfig, progress: TrainingProgress) -> str | None:
    """Return the limit that a run has reached, as its key and value, or None."""
    if progress.step == 0:
        return None
    if config.max_steps is not None and progress.step >= config.max_steps:
        return f"training.max_steps={config.max_steps}"
    if config.max_epochs is not None and progress.epoch >= config.max_epochs:
        return f"training.max_epochs={config.max_epochs}"
    if config.max_minutes is not None and (
        progress.ran_out >= config.max_minutes
        or progress.seconds + _to_come(config, progress) >= 60 * config.max_minutes
    ):
        return f"training.max_minutes={config.max_minutes:g}"
    if config.patience is not None and progress.stale >= config.patience:
        return f"training.patience={config.patience}"
    return None


def how_further(
    config: TrainingConfig, progress: TrainingProgress, run_dir: str | os.PathLike[str], reason: str
) -> str:
    """Return a sentence's end about how to train beyond the limit that `end_reason` has named: a command, if one does.

    It takes the run's own configuration, in which all else stands as it was, and twice the limit, or twice what the
    run has reached where that is more.
    """
    key = reason.partition("=")[0]
    name = key.removeprefix("training.")
    schedule = config.schedule
    if name == "max_steps" and schedule.name in ("linear", "cosine") and schedule.horizon is None:
        return f"with training.schedule.name={schedule.name} that is the end of the learning rate, too"
    reached = {"max_steps": progress.step, "max_epochs": progress.epoch, "patience": progress.stale}
    twice = 2 * max(getattr(config, name), reached.get(name, progress.minutes))
    limit = f"{key}={math.ceil(twice)}"
    return f"to train further: {shlex.join(['nmt-train', str(Path(run_dir) / 'config.yaml'), limit])}"


def _to_come(config: TrainingConfig, progress: TrainingProgress) -> float:
    """Seconds from here to the end if one more update is made: half of it, as the nearer end is taken, and the rest.

    That is the last validation and checkpoint, and as much again for an average.
    """
    update = (progress.seconds - progress.paused_seconds) / progress.step
    return update / 2 + (progress.validation_seconds + progress.saving_seconds) * (1 if config.average is None else 2)


def is_to_try_validation(config: TrainingConfig, progress: TrainingProgress) -> bool:
    """Tell whether it is time to measure a validation, so that training.max_minutes can leave room for the last one."""
    if config.max_minutes is None or progress.validation_seconds:
        return False
    return progress.seconds >= _UNTRIED * 60 * config.max_minutes


def seconds_left(config: TrainingConfig, progress: TrainingProgress) -> float | None:
    """An estimate of the time to max_steps or max_minutes, whichever comes first; None where neither is set."""
    left = []
    if config.max_steps is not None and progress.step:
        left.append(progress.seconds / progress.step * (config.max_steps - progress.step))
    if config.max_minutes is not None:
        left.append(60 * config.max_minutes - progress.seconds)
    return max(0.0, min(left)) if left else None


class Clock:
    """Seconds of training: those before this process began, and those since `start`."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count; further calls change nothing."""
        if self._started is None:
            self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + (0.0 if self._started is None else time.monotonic() - self._started)


class Interrupted(Exception):
    """A signal came during work that is given up and done again after the resumption."""


class Signals:
    """SIGTERM and Ctrl-C as something to ask for between updates; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.heeded: int | None = None  # the one that all processes have agreed to end for
        self._interruptible = False

    @property
    def exit_status(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.heeded or self.received or 0)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals during the block (in the main thread; Python has no handlers elsewhere)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """During the block a signal raises Interrupted: for long work that leaves nothing half done."""
        self._interruptible = True
        try:
            if self.received is not None:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if self._interruptible:
            raise Interrupted
