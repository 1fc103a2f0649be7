"""Test that a training that is killed at a random moment and resumed ends like an undisturbed one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch

from nmt.checksums import seal
from nmt.config.load import save_config
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights, save_weights
from tests.training.tiny import FIXED_VECTOR, tiny_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from kill_training import compare, kill_and_resume

SEED = random.randrange(10**6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kill a run. It uses dropout and subword sampling, averages its weights and saves often."""
    folder = tmp_path_factory.mktemp("killed")
    # a model without attention, because drawing attention heatmaps would take most of the time
    config = tiny_config(folder, model=FIXED_VECTOR, training__max_steps=60, training__validate_every=10,
                         training__checkpoint_every=3, training__subword_sampling=0.2, training__ema_decay=0.9,
                         training__keep_best=2, training__average="best")  # fmt: skip
    save_config(config, folder / "config.yaml")
    command = [sys.executable, "-m", "nmt.cli.train", str(folder / "config.yaml")]
    done, starts = kill_and_resume(command, folder, 1, random.Random(SEED))
    assert done == 1 and starts >= 2, f"with the seed {SEED}"
    return folder


def test_a_random_kill_leaves_no_trace(runs: Path) -> None:
    assert compare(runs / "killed", runs / "undisturbed") == [], f"with the seed {SEED}"


def test_the_comparison_finds_a_single_changed_bit(runs: Path) -> None:
    weights, info = load_weights(runs / "killed", "last")
    name = next(iter(weights))
    weights[name].flatten()[0:1].view(torch.int32).bitwise_xor_(1)
    save_weights(info.path / "model.safetensors", weights)
    seal(info.path)
    assert compare(runs / "killed", runs / "undisturbed") == ["weights"]
    assert find_checkpoint(runs / "killed", "last").step == 60
