"""Training with hard attention: its losses in the logs, its baseline in the checkpoints, and resumption."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.runs.weights import load_weights
from nmt.training.fine_tune import inherit
from nmt.training.train import train
from tests.training.tiny import RNN, assert_same_run, events, tiny_config

HARD = {**RNN, "alignment": "hard", "hard": {"baseline_decay": 0.75}}
IN_PARTS = {"training__tokens_per_device": 60, "training__log_every": 1}
NAME = "decoder.output.attention.baseline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hard")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Train a run with several micro-batches per update."""
    train(tiny_config(folder, "whole", model=HARD, **IN_PARTS))
    return folder / "whole"


def test_its_losses_are_logged_and_its_baseline_is_the_running_mean_of_the_logged_nll(run: Path) -> None:
    told = events(run, "train")
    assert [event["step"] for event in told] == [1, 2, 3, 4, 5, 6]
    assert told[0]["reinforce"] == 0.0 and all(event["reinforce"] != 0.0 for event in told[1:])
    assert all(0 < event["entropy"] < 4 for event in told)
    b = -told[0]["nll"]
    for event in told[1:]:
        b = 0.75 * b - 0.25 * event["nll"]
    assert float(load_weights(run, "last")[0][NAME]) == pytest.approx(b, rel=1e-5)


def test_training_with_it_continues_bit_for_bit(folder: Path, run: Path) -> None:
    for steps in (3, 6):
        train(tiny_config(folder, "raised", model=HARD, training__max_steps=steps, **IN_PARTS))
    assert_same_run(folder / "raised", run)


def test_a_moving_average_of_the_weights_leaves_the_baseline_as_it_is(folder: Path) -> None:
    for name, steps in (("ema", [6]), ("ema-raised", [3, 6])):
        for step in steps:
            train(tiny_config(folder, name, model=HARD, training__ema_decay=0.9, training__max_steps=step, **IN_PARTS))
    assert_same_run(folder / "ema-raised", folder / "ema")
    b = -(nlls := [event["nll"] for event in events(folder / "ema", "train")])[0]
    for nll in nlls[1:]:
        b = 0.75 * b - 0.25 * nll
    assert float(load_weights(folder / "ema", "last")[0][NAME]) == pytest.approx(b, rel=1e-5)


def test_fine_tuning_may_change_options_of_hard_attention_and_keeps_the_baseline(folder: Path, run: Path) -> None:
    options = {"reinforce": 0.5, "entropy": 0.1, "baseline_decay": 0.5, "soft_share": 0.25}
    config = tiny_config(folder, "tuned", model={**HARD, "hard": options}, training__max_steps=1, **IN_PARTS)
    config.fine_tune.run, config.fine_tune.checkpoint = str(run), "last"
    assert inherit(config)[0].model.hard.reinforce == 0.5
    train(config)
    (told,) = events(folder / "tuned", "train")
    assert told["reinforce"] != 0.0
    before = float(load_weights(run, "last")[0][NAME])
    after = float(load_weights(folder / "tuned", "last")[0][NAME])
    assert after == pytest.approx(0.5 * before - 0.5 * told["nll"], rel=1e-5)
