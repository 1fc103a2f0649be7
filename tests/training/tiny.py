"""A complete training that takes a second, with made-up text, a tiny vocabulary and a tiny model."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
from pathlib import Path
from typing import Any

import torch

from nmt.config.load import config_from_dict
from nmt.config.schema import Config
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.checkpoint import load_training_state
from nmt.training.train import train
from tests.forked import status_of
from tests.toy_run import made_up_lines

TRANSFORMER = {
    "family": "transformer", "model_dim": 16, "ffn_dim": 24, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1,
    "dropout": 0.1,
}  # fmt: skip
FIXED_VECTOR = {"family": "rnn_encdec", "embedding_dim": 12, "hidden_dim": 16, "maxout_dim": 12, "dropout": 0.1}
RNN = {"family": "luong", "embedding_dim": 12, "hidden_dim": 16, "layers": 1, "dropout": 0.1}


def tiny_config(folder: Path, run: str = "run", **changes: Any) -> Config:
    """Return a configuration with data and runs in `folder`; changes are `section__key=value` or whole sections."""
    text = folder / "text"
    if not text.is_dir():
        text.mkdir(parents=True)
        for seed, (split, count) in enumerate({"train": 120, "val": 9}.items()):
            lines = made_up_lines(count, seed=seed)
            (text / f"{split}.aa").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (text / f"{split}.bb").write_text("\n".join(reversed_words(lines)) + "\n", encoding="utf-8")
    values: dict[str, Any] = {
        "model": TRANSFORMER,
        "data": {"source_language": "aa", "target_language": "bb", "path": str(text), "cache": str(folder / "cache")},
        "tokenizer": {"algorithm": "bpe", "vocab_size": 60},
        "training": {
            "max_steps": 6, "validate_every": 3, "log_every": 2, "tokens_per_update": 150, "learning_rate": 0.01,
            "device": "cpu", "threads": 1, "schedule": {"name": "plateau", "warmup_steps": 2, "plateau_patience": 1},
        },
        "search": {"beam_size": 2, "max_length_ratio": 1.0, "max_length_offset": 3},
        "run_dir": str(folder / run),
    }  # fmt: skip
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            values[section] = {**values[section], name: value}
        else:
            values[section] = value
    return config_from_dict(values)


def killed_in_update(config: Config, number: int) -> None:
    """Train in a separate process, and kill it in the middle of update `number`."""
    killed_in(config, "nmt.training.trainer.Trainer._clip", f"arguments[0].progress.step == {number - 1}")


def killed_in(config: Config, function: str, when: str = "True") -> None:
    """Train in a separate process, and kill it when it calls `function` and the expression `when` is true."""
    assert status_of(_train_until, config, function, when) == -signal.SIGKILL


def _train_until(config: Config, function: str, when: str) -> None:
    path, _, name = function.rpartition(".")
    owner = pkgutil.resolve_name(path)
    original = getattr(owner, name)

    def kill(*arguments: Any) -> Any:
        if eval(when, {"arguments": arguments}):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(owner, name, kill)
    train(config)


def reversed_words(lines: list[str]) -> list[str]:
    return [" ".join(reversed(line.rstrip(".").split())) + "." for line in lines]


def events(run_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the entries of metrics.jsonl, optionally only those of one kind of event."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if kind is None or line["event"] == kind]


TIMES = {"minutes", "seconds", "source_tokens_per_second", "target_tokens_per_second", "data_wait", "cpu_seconds"}


def assert_same_run(one: Path, other: Path) -> None:
    """Check that two runs have bit-identical weights, optimizer, random state and metrics, except for times."""
    assert find_checkpoint(one, "best").step == find_checkpoint(other, "best").step
    weights, others = load_weights(one, "last"), load_weights(other, "last")
    assert weights[1].step == others[1].step
    state, other_state = (load_training_state(info) for info in (weights[1], others[1]))
    assert_equal(weights[0], others[0], "weights")
    for key in ("optimizer", "schedule", "average", "health", "random"):
        assert_equal(state[key], other_state[key], key)
    for key in ("step", "epoch", "position", "validated_step", "best", "stale", "rollbacks"):
        assert_equal(state["progress"][key], other_state["progress"][key], key)
    told, other_told = ([without_times(event) for event in events(run)] for run in (one, other))
    assert told == other_told


def without_times(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in TIMES}


def assert_equal(one: Any, other: Any, name: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            assert_equal(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), name
        for index, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(ours, theirs, f"{name}[{index}]")
    else:
        assert one == other, name
