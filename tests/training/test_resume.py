"""Resumed runs: however a run is interrupted, its result is bit-identical to that of an uninterrupted run."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.checksums import replacing
from nmt.errors import NmtError
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.checkpoint import load_training_state
from nmt.training.ema import MovingAverage
from nmt.training.train import train
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator
from tests.training.tiny import RNN, assert_equal, assert_same_run, events, killed_in, killed_in_update, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Path:
    train(tiny_config(folder, "whole"))
    return folder / "whole"


def test_training_is_a_function_of_config_and_seed(folder: Path, uninterrupted: Path) -> None:
    train(tiny_config(folder, "again"))
    assert_same_run(folder / "again", uninterrupted)
    train(tiny_config(folder, "other", seed=2))
    with pytest.raises(AssertionError):
        assert_same_run(folder / "other", uninterrupted)


def test_a_limit_raised_continues_the_run(folder: Path, uninterrupted: Path) -> None:
    train(tiny_config(folder, "raised", training__max_steps=3))
    train(tiny_config(folder, "raised"))
    assert_same_run(folder / "raised", uninterrupted)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.9},
        {"optimizer": {"name": "muon"}},
        {"rdrop": 1.0},
        {"subword_sampling": 0.1},
        {"average": "last", "keep_last": 2, "checkpoint_every": 1},
        {"average": "last", "keep_last": 2, "checkpoint_every": 1, "ema_decay": 0.9},
    ],
    ids=str,
)
def test_what_training_adds_continues_too(folder: Path, changes: dict[str, Any]) -> None:
    settings = {f"training__{key}": value for key, value in changes.items()}
    for steps in (3, 6):
        train(tiny_config(folder, f"{changes}-raised", **settings, training__max_steps=steps))
    train(tiny_config(folder, f"{changes}-whole", **settings))
    assert_same_run(folder / f"{changes}-raised", folder / f"{changes}-whole")


def test_a_missing_newest_checkpoint_gives_way_to_the_one_before(
    folder: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "missing"
    train(tiny_config(folder, run.name, training__max_steps=5, training__checkpoint_every=1))
    shutil.rmtree(run / "checkpoints" / "step-0000000005")
    train(tiny_config(folder, run.name, training__checkpoint_every=1))
    assert "step-0000000005 is missing" in (said := capsys.readouterr().err) and "step 4" in said
    assert_same_run(run, uninterrupted)


def test_no_pointer_leads_to_a_checkpoint_that_was_lost(folder: Path) -> None:
    run = folder / "lost-best"
    settings = {"training__keep_best": 1, "training__keep_last": 2, "training__validate_every": 1}
    train(tiny_config(folder, run.name, training__max_steps=4, **settings))
    (run / "checkpoints" / "best").write_text("step-0000000004\n")
    newest, state = find_checkpoint(run, "last"), run / "checkpoints" / "step-0000000004" / "training_state.pt"
    assert newest.step == 4
    state.write_bytes(state.read_bytes()[:-100])
    before = find_checkpoint(run, 3)
    progress = load_training_state(before)["progress"]
    lost = {**load_training_state(before), "progress": {**progress, "best": [[[0.0, 0.0], 2]]}}
    with replacing(before.path / "training_state.pt") as file:
        torch.save(lost, file)

    class Stopped(Exception):
        """Raised in place of the next update."""

    def stop(*_: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "train_step", stop)
        train(tiny_config(folder, run.name, training__max_steps=6, **settings))
    assert not (run / "checkpoints" / "best").exists()
    assert find_checkpoint(run).step == 3


@pytest.mark.parametrize("file", ["model.safetensors", "training_state.pt"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    folder: Path, uninterrupted: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / f"damaged-{file}"
    train(tiny_config(folder, run.name, training__max_steps=5, training__checkpoint_every=1))
    newest = run / "checkpoints" / "step-0000000005" / file
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(NmtError, match=f"{file} is damaged"):
        load_training_state(load_weights(run, "last")[1])  # translation never silently uses another checkpoint
    train(tiny_config(folder, run.name, training__checkpoint_every=1))
    assert f"{file} is damaged" in (said := capsys.readouterr().err) and "step 4" in said
    assert_same_run(run, uninterrupted)


def test_a_recurrent_run_continues_too(folder: Path) -> None:
    for steps in (3, 6):
        train(tiny_config(folder, "rnn-raised", model=RNN, training__max_steps=steps))
    train(tiny_config(folder, "rnn-whole", model=RNN))
    assert_same_run(folder / "rnn-raised", folder / "rnn-whole")


def test_a_killed_run_ends_as_one_that_was_not(folder: Path) -> None:
    """The run is killed in update 6, after log lines that must not be repeated, and continues into the next epoch."""
    limits = {"training__max_steps": 8, "training__checkpoint_every": 4, "training__tokens_per_device": 60}
    killed = tiny_config(folder, "killed", **limits)
    killed_in_update(killed, 6)
    assert find_checkpoint(killed.run_dir, "last").step == 4
    train(killed)
    train(tiny_config(folder, "not-killed", **limits))
    assert_same_run(folder / "killed", folder / "not-killed")


@pytest.mark.parametrize("function", ["save_weights", "set_pointer"])
def test_a_run_killed_while_it_averages_makes_the_same_average(folder: Path, function: str) -> None:
    changes = {"average": "last", "keep_last": 2, "checkpoint_every": 1}
    changes |= {"learning_rate": 0.2, "best_metric": "loss"}  # with this high rate the average is better
    changes = {f"training__{key}": value for key, value in changes.items()}
    whole, run = folder / "averaged", folder / f"killed-in-{function}"
    if not whole.is_dir():
        train(tiny_config(folder, whole.name, **changes))
    config = tiny_config(folder, run.name, **changes)
    killed_in(config, f"nmt.training.average.{function}")
    assert not (run / "checkpoints" / "averaged").exists()
    train(config)
    assert_same_run(run, whole)
    assert_equal(load_weights(run, "averaged")[0], load_weights(whole, "averaged")[0], "average")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_an_update_saves_after_it(
    folder: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    run = folder / f"signal-{number}"
    clip = Trainer._clip

    def signal_at_five(self: Trainer) -> Any:
        if self.progress.step == 4:
            os.kill(os.getpid(), number)
        return clip(self)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(Trainer, "_clip", signal_at_five)
        train(tiny_config(folder, run.name))
    assert ended.value.code == status
    assert find_checkpoint(run, "last").step == 5
    train(tiny_config(folder, run.name))
    assert_same_run(run, uninterrupted)


def test_a_signal_in_a_validation_breaks_it_off_and_it_comes_after_the_resumption(
    folder: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder / "signal-validation"
    loss = Validator.nll

    for step in (3, 6):  # the second one is saved at the end

        def signal_in_loss(self: Validator, part: list[list[int]], broken_off: int = step) -> float:
            if len(events(run, "validation")) == broken_off // 3 - 1:
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGTERM)
            return loss(self, part)

        with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(Validator, "nll", signal_in_loss)
            train(tiny_config(folder, run.name))
        assert ended.value.code == 143
        assert find_checkpoint(run, "last").step == step
        progress = load_training_state(find_checkpoint(run, "last"))["progress"]
        assert progress["paused_seconds"] >= 0.1 * step, "the validations that were broken off are no training"
        assert [event["step"] for event in events(run, "validation")] == [3] * (step == 6)
    train(tiny_config(folder, run.name))
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("exchange", range(1, 5))
def test_a_signal_while_weights_and_their_average_change_places(
    folder: Path, monkeypatch: pytest.MonkeyPatch, exchange: int
) -> None:
    """They are exchanged before and after a validation (exchanges 1 and 2) and a checkpoint (3 and 4)."""
    whole, run = folder / "averaging", folder / f"signal-exchange-{exchange}"
    if not whole.is_dir():
        train(tiny_config(folder, whole.name, training__ema_decay=0.9))
    swap, exchanges = MovingAverage._swap, []

    def signal_in_swap(self: MovingAverage) -> None:
        exchanges.append(1)
        if len(exchanges) == exchange:
            os.kill(os.getpid(), signal.SIGTERM)
        swap(self)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(MovingAverage, "_swap", signal_in_swap)
        train(tiny_config(folder, run.name, training__ema_decay=0.9))
    assert ended.value.code == 143
    assert find_checkpoint(run, "last").step == 3
    train(tiny_config(folder, run.name, training__ema_decay=0.9))
    assert_same_run(run, whole)


def test_validation_disturbs_neither_weights_nor_random_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validating twice, even with random numbers in between, gives the same weights as validating once."""
    loss = Validator.nll
    monkeypatch.setattr(Validator, "nll", lambda self, part: loss(self, part) + 0 * torch.rand(3).sum().item())
    weights = []
    for every in (3, 6):
        config = tiny_config(folder, f"every-{every}", training__validate_every=every)
        config.training.schedule.name = "constant"  # because the plateau schedule depends on validations
        train(config)
        weights.append((find_checkpoint(str(config.run_dir), "last").path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
