"""The limits at which a run ends, and its reaction to signals."""

from __future__ import annotations

import math
import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from nmt.cli.train import main
from nmt.config.schema import ScheduleConfig, TrainingConfig
from nmt.training.limits import (
    Clock,
    Interrupted,
    Rank,
    Signals,
    TrainingProgress,
    end_reason,
    how_further,
    is_to_try_validation,
    seconds_left,
)
from nmt.training.train import train
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator
from tests.training.tiny import events, tiny_config


def reason(progress: dict[str, Any], **limits: Any) -> str | None:
    return end_reason(TrainingConfig(**limits), TrainingProgress(**{"step": 10, **progress}))


def test_each_limit_ends_a_run_where_it_says() -> None:
    assert reason({"step": 9}, max_steps=10) is None
    assert reason({"step": 10}, max_steps=10) == "training.max_steps=10"
    assert reason({"epoch": 1, "position": 7}, max_epochs=2) is None
    assert reason({"epoch": 2}, max_epochs=2) == "training.max_epochs=2"
    assert reason({"stale": 2}, patience=3) is None
    assert reason({"stale": 3}, patience=3) == "training.patience=3"
    assert reason({"seconds": 50.0}, max_minutes=1) is None
    assert reason({"seconds": 60.0}, max_minutes=1) == "training.max_minutes=1"


def test_minutes_leave_time_for_all_that_is_to_come() -> None:
    """An update takes 2 seconds here; half of one counts, because the run ends at the update closest to the limit."""
    assert reason({"step": 25, "seconds": 50.0, "validation_seconds": 8.0}, max_minutes=1) is None
    assert reason({"step": 25, "seconds": 50.0, "validation_seconds": 9.0}, max_minutes=1) is not None
    assert reason({"step": 25, "seconds": 50.0, "validation_seconds": 4.0}, max_minutes=1) is None
    assert reason({"step": 25, "seconds": 50.0, "validation_seconds": 4.0, "saving_seconds": 5.0}, max_minutes=1)
    averaging = TrainingConfig(max_minutes=1, average="last")
    assert end_reason(averaging, TrainingProgress(step=25, seconds=50.0, validation_seconds=4.0)) is None
    assert end_reason(averaging, TrainingProgress(step=25, seconds=50.0, validation_seconds=5.0)) is not None


def test_only_updates_count_as_updates() -> None:
    """25 updates take 5 of 50 seconds, and validations and checkpoints the rest, so half an update is 0.1 seconds."""
    assert (
        reason({"step": 25, "seconds": 50.0, "paused_seconds": 45.0, "validation_seconds": 9.8}, max_minutes=1) is None
    )
    assert reason({"step": 25, "seconds": 50.0, "paused_seconds": 45.0, "validation_seconds": 9.95}, max_minutes=1)


def test_a_run_that_ended_in_time_has_ended_and_goes_on_with_more_minutes() -> None:
    ended = {"seconds": 52.0, "ran_out": 1.0}
    assert reason(ended, max_minutes=1) == "training.max_minutes=1"
    assert reason(ended, max_minutes=2) is None


def test_a_validation_is_tried_once_a_third_of_the_minutes_is_over() -> None:
    limited, unlimited = TrainingConfig(max_minutes=1), TrainingConfig(max_steps=9)
    assert not is_to_try_validation(limited, TrainingProgress(step=1, seconds=15.0))
    assert is_to_try_validation(limited, TrainingProgress(step=1, seconds=20.0))
    assert not is_to_try_validation(limited, TrainingProgress(step=1, seconds=20.0, validation_seconds=3.0))
    assert not is_to_try_validation(unlimited, TrainingProgress(step=1, seconds=999.0))


def test_the_best_are_kept_and_patience_counts_validations_without_a_better_one() -> None:
    progress = TrainingProgress()
    seen = []
    for step, score in enumerate([1.0, 3.0, 2.0, 3.0, 4.0], start=1):
        progress.step = step
        improved = progress.validated(Rank(score, -1.0), keep_best=2)
        seen.append((improved, progress.stale, progress.is_among_best()))
    assert seen == [(True, 0, True), (True, 0, True), (False, 1, True), (False, 2, True), (True, 0, True)]
    assert progress.best == [((4.0, -1.0), 5), ((3.0, -1.0), 2)]  # on a tie the earlier step
    assert TrainingProgress.from_state_dict(progress.state_dict()) == progress


def test_of_equal_scores_the_lower_loss_is_better_and_patience_begins_anew() -> None:
    progress = TrainingProgress()
    for step, loss in enumerate([3.0, 2.0, 2.5, 2.0, 1.0], start=1):
        progress.step = step
        progress.validated(Rank(0.0, -loss), keep_best=3)
        assert progress.stale == [0, 0, 1, 2, 0][step - 1]
    assert [step for _, step in progress.best] == [5, 2, 4]


def test_a_step_that_is_validated_again_counts_once() -> None:
    progress = TrainingProgress(step=6, best=[(Rank(-math.inf, -math.inf), 6)])
    progress.validated(Rank(3.0, -1.0), keep_best=2)
    assert progress.best == [((3.0, -1.0), 6)]


def test_a_checkpoint_without_losses_beside_its_best_scores_is_continued() -> None:
    older = TrainingProgress(step=20).state_dict() | {"best": [[0.0, 10], [-0.5, 5]], "stale": 2}
    progress = TrainingProgress.from_state_dict(older)
    assert [step for _, step in progress.best] == [10, 5]
    assert progress.validated(Rank(0.0, -7.0), keep_best=2), "a tie with a loss that is not known"
    progress.step = 21
    assert not progress.validated(Rank(-0.2, -1.0), keep_best=2)
    assert progress.best == [((0.0, -7.0), 20), ((0.0, float("-inf")), 10)]
    assert TrainingProgress.from_state_dict(progress.state_dict()) == progress


def test_time_left_is_to_the_nearest_limit() -> None:
    progress = TrainingProgress(step=10, seconds=20.0)
    assert seconds_left(TrainingConfig(max_steps=40), progress) == pytest.approx(60)
    assert seconds_left(TrainingConfig(max_steps=40, max_minutes=0.5), progress) == pytest.approx(10)
    assert seconds_left(TrainingConfig(patience=3), progress) is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_and_its_handler_given_back(number: int, status: int) -> None:
    before = signal.getsignal(number)
    signals = Signals()
    with signals.caught():
        os.kill(os.getpid(), number)
        assert signals.received == number
        signals.heeded = number
        assert signals.exit_status == status
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_stops_at_once() -> None:
    with Signals().caught():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_long_work_is_broken_off() -> None:
    signals = Signals()
    with signals.caught():
        with pytest.raises(Interrupted), signals.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), signals.interruptible():
            raise AssertionError("not begun after a signal")


def test_the_end_names_a_command_that_goes_on(tmp_path: Path) -> None:
    """The command uses the run's own configuration, here in a folder whose name needs quoting."""
    config = tiny_config(tmp_path, "a run", training__max_steps=2)
    train(config)
    command = how_further(
        config.training, TrainingProgress(step=2), tmp_path / "a run", "training.max_steps=2"
    ).partition(": ")[2]
    name, *arguments = shlex.split(command)
    assert (name, main(arguments)) == ("nmt-train", 0)
    assert events(tmp_path / "a run", "end")[-1]["step"] == 4
    assert how_further(TrainingConfig(max_minutes=1.5), TrainingProgress(), "r", "training.max_minutes=1.5").endswith(
        "max_minutes=3"
    )
    assert how_further(
        TrainingConfig(max_steps=1_000_000), TrainingProgress(), "r", "training.max_steps=1000000"
    ).endswith("=2000000")
    beyond = how_further(TrainingConfig(max_steps=100), TrainingProgress(step=1000), "r", "training.max_steps=100")
    assert beyond.endswith("=2000"), "where it was lowered, from what is reached"


def test_where_the_schedule_ends_no_command_is_named() -> None:
    config = TrainingConfig(max_steps=9, schedule=ScheduleConfig(name="cosine", warmup_steps=2))
    assert "nmt-train" not in how_further(config, TrainingProgress(), "r", "training.max_steps=9")
    config.schedule.horizon = 20
    assert "nmt-train" in how_further(config, TrainingProgress(), "r", "training.max_steps=9")


def test_a_limit_in_minutes_ends_a_run_before_it_with_its_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a fake clock, an update takes 2 seconds, a validation 11, its trial 3, and a checkpoint no time."""
    now = [0.0]
    monkeypatch.setattr(Clock, "seconds", property(lambda clock: now[0]))

    def taking(owner: Any, name: str, seconds: float, answer: float | None = None) -> None:
        original = getattr(owner, name)

        def slow(self: Any, *arguments: Any) -> Any:
            now[0] += seconds
            return original(self, *arguments) if answer is None else answer

        monkeypatch.setattr(owner, name, slow)

    taking(Trainer, "_clip", 2.0)
    taking(Validator, "validate", 11.0)
    taking(Validator, "estimate", 3.0, answer=11.0)
    train(tiny_config(tmp_path, training__max_steps=None, training__max_minutes=1.5, training__validate_every=1000))
    (validation,) = events(tmp_path / "run", "validation")
    assert validation["step"] == (90 - 11 - 3) // 2
    assert 88 <= now[0] <= 91
