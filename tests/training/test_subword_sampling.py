"""Runs with subword sampling: they depend only on configuration, seed and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nmt.config.schema import Config
from nmt.runs.checkpoints import find_checkpoint
from nmt.training.train import train
from tests.training.tiny import assert_same_run, events, killed_in_update, tiny_config


def sampling_config(folder: Path, run: str, **changes: Any) -> Config:
    settings = {"subword_sampling": 0.3, "max_steps": 8, "checkpoint_every": 4}
    settings |= {key.removeprefix("training__"): value for key, value in changes.items()}
    config = tiny_config(folder, run, data__cleaning={"max_tokens": 60})
    for key, value in settings.items():
        setattr(config.training, key, value)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("subword-sampling")


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Path:
    train(sampling_config(folder, "whole"))
    return folder / "whole"


def test_a_killed_run_ends_as_one_that_was_not(folder: Path, uninterrupted: Path) -> None:
    """The run is killed in the middle of update 6, in a separate process, and continues into the next epoch."""
    killed = sampling_config(folder, "killed")
    killed_in_update(killed, 6)
    assert find_checkpoint(killed.run_dir, "last").step == 4
    train(killed)
    assert_same_run(folder / "killed", uninterrupted)


def test_worker_processes_train_the_same(folder: Path, uninterrupted: Path) -> None:
    train(sampling_config(folder, "workers", workers=2))
    assert_same_run(folder / "workers", uninterrupted)


def test_a_split_by_device_trains_on_the_same_tokens(folder: Path) -> None:
    for tokens in (None, 70):
        config = sampling_config(folder, f"split-{tokens}", tokens_per_device=tokens)
        config.model.dropout = 0.0
        train(config)
    for split, whole in zip(events(folder / "split-70", "train"), events(folder / "split-None", "train"), strict=True):
        assert (split["step"], split["epoch"]) == (whole["step"], whole["epoch"])
        assert split["nll"] == pytest.approx(whole["nll"], rel=1e-3)
        assert split["padding"] < whole["padding"]


@pytest.mark.parametrize("settings", [{"subword_sampling": None}, {"subword_sampling_sides": "source"}])
def test_what_is_drawn_is_trained_on(folder: Path, uninterrupted: Path, settings: dict[str, Any]) -> None:
    run = f"other-{next(iter(settings))}"
    train(sampling_config(folder, run, **settings))
    with pytest.raises(AssertionError):
        assert_same_run(folder / run, uninterrupted)


def test_validation_never_draws(folder: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss before the first update equals that of a run without sampling."""
    losses = []
    for value in (None, 1.0):
        config = sampling_config(folder, f"validation-{value}", subword_sampling=value, learning_rate=1e-30)
        config.training.max_steps = config.training.validate_every = 1
        train(config)
        losses.append(events(Path(str(config.run_dir)), "validation")[0]["loss"])
    assert losses[0] == losses[1]
