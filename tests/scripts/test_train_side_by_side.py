"""Test scripts/train_side_by_side.py: lanes train to the end, or all stop at a failure or a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nmt.config.load import save_config
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.run import read_run_config
from tests.training.tiny import FIXED_VECTOR, tiny_config

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_side_by_side.py"


def configuration(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / f"{name}.yaml"
    save_config(tiny_config(folder, run=name, model=FIXED_VECTOR, **changes), path)
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_lanes_run_side_by_side_and_share_the_cores(tmp_path: Path) -> None:
    first, second, third = (configuration(tmp_path, name) for name in ("first", "second", "third"))
    out, err = start(f"{first},{third}", second, "training.max_steps=4").communicate()
    lines = [line.partition("|") for line in out.splitlines()]
    assert err == ""
    assert {name.strip() for name, _, _ in lines} == {"first", "second", "third"}
    names = [name.strip() for name, _, _ in lines if name.strip() != "second"]
    assert names == sorted(names)  # "third" is in the lane of "first", after it
    for name in ("first", "second", "third"):
        assert find_checkpoint(tmp_path / name, "last").step == 4
        assert read_run_config(tmp_path / name).training.threads == max(1, (os.cpu_count() or 1) // 2)


def test_a_failed_training_stops_the_others(tmp_path: Path) -> None:
    bad = configuration(tmp_path, "bad", data__path=str(tmp_path / "nowhere"))
    long = configuration(tmp_path, "long", training__max_steps=1_000_000)
    never = configuration(tmp_path, "never")
    lanes = start(f"{bad},{never}", long)
    out, _ = lanes.communicate(timeout=120)
    assert lanes.returncode == 1
    assert any(line.startswith("bad ") and "nowhere" in line for line in out.splitlines())
    assert not (tmp_path / "never").exists()


def test_after_a_signal_all_trainings_save(tmp_path: Path) -> None:
    configs = [configuration(tmp_path, name, training__max_steps=1_000_000) for name in ("first", "second")]
    lanes = start(*configs)
    assert lanes.stdout is not None
    training: set[str] = set()
    for line in lanes.stdout:
        if "step" in line:
            training.add(line.split()[0])
        if len(training) == 2:
            break
    lanes.send_signal(signal.SIGTERM)
    out, _ = lanes.communicate(timeout=120)
    assert lanes.returncode == 128 + signal.SIGTERM
    assert out.count("stopped at step") == 2
    assert all(find_checkpoint(tmp_path / name, "last").step for name in ("first", "second"))
