"""A training whose data workers are killed gives bit-identical results to one without such failures."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from nmt.training.train import train
from nmt.training.trainer import Trainer
from tests.training.tiny import assert_same_run, tiny_config

pytestmark = pytest.mark.usefixtures("no_server")


def test_a_killed_worker_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"training__max_steps": 24, "training__validate_every": 12}
    train(tiny_config(tmp_path, "undisturbed", **limits))
    clip = Trainer._clip

    def kill_at_four(self: Trainer) -> Any:
        if self.progress.step == 4:
            worker = multiprocessing.active_children()[0]
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        return clip(self)

    monkeypatch.setattr(Trainer, "_clip", kill_at_four)
    capsys.readouterr()
    train(tiny_config(tmp_path, "killed", **limits, training__workers=2))
    assert capsys.readouterr().err.count("a process that builds batches was killed by SIGKILL") == 1
    assert not multiprocessing.active_children()
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")
