"""Tests of training that is killed, stopped or out of disk space: files stay intact, and the run can be continued."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.conftest import ENVIRONMENT, executable, train_arguments
from tests.forked import forked

STEPS = ("training.max_steps=40", "training.validate_every=20", "training.checkpoint_every=5", "model.dropout=0.1")
TIMES = {"minutes", "source_tokens_per_second", "target_tokens_per_second", "data_wait", "cpu_seconds", "seconds"}


def start(corpus: Path, run_dir: Path, *more: str) -> subprocess.Popen[str]:
    command = [executable("nmt-train"), *train_arguments(corpus, run_dir, *STEPS, *more)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for_a_checkpoint(run_dir: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a run can be continued from a checkpoint: the pointer `last` is written after the folder."""
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints" / "last").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def metrics(run_dir: Path) -> list[dict[str, object]]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    run_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert forked("nmt-train", train_arguments(corpus, run_dir, *STEPS)).status == 0
    return run_dir


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_bit_identical(
    how: signal.Signals, status: int, uninterrupted: Path, corpus: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    process = start(corpus, run_dir)
    wait_for_a_checkpoint(run_dir, process)
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert "Traceback" not in said
    steps = [int(folder.name.split("-")[1]) for folder in (run_dir / "checkpoints").glob("step-*")]
    assert 0 < max(steps) < 40, "it was stopped in the middle"
    resumed = forked("nmt-train", train_arguments(corpus, run_dir, *STEPS))
    assert resumed.status == 0 and "continuing" in resumed.err
    last = "checkpoints/step-0000000040"
    ours, theirs = (
        load_file(run_dir / last / "model.safetensors"),
        load_file(uninterrupted / last / "model.safetensors"),
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = [torch.load(folder / last / "training_state.pt", weights_only=True) for folder in (run_dir, uninterrupted)]
    assert_equal_trees(states[0]["optimizer"], states[1]["optimizer"])
    assert metrics(run_dir) == metrics(uninterrupted)


def assert_equal_trees(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_trees(one[key], other[key])
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other)
        for ours, theirs in zip(one, other, strict=True):
            assert_equal_trees(ours, theirs)
    else:
        assert one == other


def test_a_full_disk_leaves_the_previous_checkpoint(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert forked("nmt-train", train_arguments(corpus, run_dir, *STEPS, "training.max_steps=5")).status == 0
    size = (run_dir / "checkpoints/step-0000000005/model.safetensors").stat().st_size
    small = (resource.RLIMIT_FSIZE, size // 2)
    failed = forked("nmt-train", train_arguments(corpus, run_dir, *STEPS), limit=small)
    assert failed.status == 1
    assert failed.err.strip().splitlines()[-1].startswith("nmt-train: error: "), failed.err
    assert [folder.name for folder in (run_dir / "checkpoints").glob("step-*")] == ["step-0000000005"]
    assert not list(run_dir.rglob("*.partial"))
    assert forked("nmt-translate", [run_dir], "Ein Hund schläft.\n").out.count("\n") == 1
