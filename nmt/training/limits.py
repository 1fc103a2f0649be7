"""Track the progress of a run, decide when it ends, and handle signals that end it early."""

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

_UNTRIED = 0.3  # fraction of max_minutes after which a trial measures how long a validation takes


class Rank(NamedTuple):
    """The rank of a validation: a higher score is better; for equal scores, a lower loss is better."""

    score: float  # according to training.best_metric
    negative_loss: float


@dataclass
class TrainingProgress:
    """The progress of a run, which is part of every checkpoint."""

    step: int = 0  # updates done
    epoch: int = 0  # of the next update
    position: int = 0  # of the next update within its epoch
    seconds: float = 0.0  # wall-clock time since the first update, with validations, summed over all resumptions
    validated_step: int = 0  # step of the last validation
    validation_seconds: float = 0.0  # duration of the last validation with translations, or its estimate by a trial
    saving_seconds: float = 0.0  # duration of the last checkpoint
    paused_seconds: float = 0.0  # total duration of validations and checkpoints so far
    translates: bool = False  # whether a validation has produced translations: then all later ones do
    ran_out: float = 0.0  # the value of training.max_minutes that ended the run
    best: list[tuple[Rank, int]] = field(default_factory=list)  # ranks and steps of the best validations, best first
    stale: int = 0  # validations since the last improvement
    ended: bool = False  # whether the run is complete, including its last validation and average
    rollbacks: int = 0  # number of rollbacks to a checkpoint after a bad update

    @property
    def minutes(self) -> float:
        """The wall-clock time since the first update, in minutes."""
        return self.seconds / 60

    def validated(self, rank: Rank, keep_best: int) -> bool:
        """Record a validation of the current step; return whether it is the best so far."""
        improved = not self.best or rank > self.best[0][0]
        self.stale = 0 if improved else self.stale + 1
        others = [entry for entry in self.best if entry[1] != self.step]
        ranked = sorted([*others, (rank, self.step)], key=lambda entry: entry[0], reverse=True)
        self.best = ranked[:keep_best]  # on a tie the earlier step comes first
        self.validated_step = self.step
        return improved

    def is_among_best(self) -> bool:
        """Return whether the current step is among the best validations."""
        return any(step == self.step for _, step in self.best)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint stores."""
        return asdict(self) | {"best": [(*rank, step) for rank, step in self.best]}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> TrainingProgress:
        """Return the progress that a checkpoint stores.

        Checkpoints of older versions lack the losses of the best validations; their loss counts as infinite, so a later
        validation with an equal score ranks higher. Those versions translated in every validation.
        """
        best = [(Rank(score, *(loss or [-math.inf])), step) for score, *loss, step in state["best"]]
        return cls(**{"translates": True, **state, "best": best})


def end_reason(config: TrainingConfig, progress: TrainingProgress) -> str | None:
    """Return the limit that a run has reached as KEY=VALUE, such as training.max_steps=1000, or None."""
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
    """Return the end of a sentence about how to train beyond the limit that `end_reason` named.

    This is a command with the run's own configuration and twice the limit (or twice what the run has reached, if that
    is more). If the limit is also the end of the learning rate schedule, no command helps, and the text says so.
    """
    key = reason.partition("=")[0]
    name = key.removeprefix("training.")
    schedule = config.schedule
    if name == "max_steps" and schedule.name in ("linear", "cosine") and schedule.horizon is None:
        return f"with training.schedule.name={schedule.name} the learning rate schedule ends there, too"
    reached = {"max_steps": progress.step, "max_epochs": progress.epoch, "patience": progress.stale}
    twice = 2 * max(getattr(config, name), reached.get(name, progress.minutes))
    limit = f"{key}={math.ceil(twice)}"
    return f"to train further: {shlex.join(['nmt-train', str(Path(run_dir) / 'config.yaml'), limit])}"


def _to_come(config: TrainingConfig, progress: TrainingProgress) -> float:
    """Return the seconds that a run still takes if it ends now: the last validation and checkpoint.

    An average takes as long again. Half an update is added, so that the run ends at whichever update is closer to
    max_minutes, before or after it.
    """
    update = (progress.seconds - progress.paused_seconds) / progress.step
    return update / 2 + (progress.validation_seconds + progress.saving_seconds) * (1 if config.average is None else 2)


def is_to_try_validation(config: TrainingConfig, progress: TrainingProgress) -> bool:
    """Return whether to measure a validation now, so that enough of training.max_minutes is left for the last one."""
    if config.max_minutes is None or progress.validation_seconds:
        return False
    return progress.seconds >= _UNTRIED * 60 * config.max_minutes


def seconds_left(config: TrainingConfig, progress: TrainingProgress) -> float | None:
    """Estimate the seconds until max_steps or max_minutes, whichever comes first; None if neither is set."""
    left = []
    if config.max_steps is not None and progress.step:
        left.append(progress.seconds / progress.step * (config.max_steps - progress.step))
    if config.max_minutes is not None:
        left.append(60 * config.max_minutes - progress.seconds)
    return max(0.0, min(left)) if left else None


class Clock:
    """A clock for the duration of a run: seconds from before this process started, plus those since `start`."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds
        self._started: float | None = None

    def start(self) -> None:
        """Start the clock; further calls have no effect."""
        if self._started is None:
            self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The duration so far, in seconds."""
        return self._before + (0.0 if self._started is None else time.monotonic() - self._started)


class Interrupted(Exception):
    """Raised when a signal interrupts work that is abandoned and repeated when the run is resumed."""


class Signals:
    """Records SIGTERM and Ctrl-C, so that training can react between two updates; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.heeded: int | None = None  # the signal that all processes have agreed to end for
        self._interruptible = False

    @property
    def exit_status(self) -> int:
        """The exit status that belongs to the signal: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.heeded or self.received or 0)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Record signals during the block; does nothing outside the main thread, where Python allows no handlers."""
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
        """Raise Interrupted if a signal comes during the block, or came before: for long work that can be repeated."""
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
