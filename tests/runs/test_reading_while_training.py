"""Tests of reading a run by a pointer's name while its training deletes the checkpoint that the pointer referred to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.cli import export as export_command
from nmt.errors import NmtError
from nmt.inference.export.current import current_export
from nmt.inference.export.record import ExportRecord
from nmt.runs import checkpoints
from nmt.runs.checkpoints import CheckpointInfo, delete_checkpoint, find_checkpoint
from nmt.runs.run import check_run, load_run, run_fingerprint
from nmt.runs.weights import load_weights
from nmt.training.checkpoint import save_checkpoint
from tests.toy_run import make_run, toy_config, toy_model, toy_tokenizer

ROOT = Path(__file__).resolve().parents[2]
VARIANT = "transformer-post"


def exported_step(run: Path) -> int:
    with current_export(run, toy_config(VARIANT), "last", toy_tokenizer(), lambda line: None) as folder:
        return ExportRecord.read(folder).step


def step_exported_by_command(run: Path) -> int:
    assert export_command.main([str(run), "--checkpoint", "last"]) == 0
    return ExportRecord.read(run / "exports" / "ctranslate2").step


READERS: dict[str, Callable[[Path], Any]] = {
    "load_run": lambda run: load_run(run, "last").checkpoint.step,
    "load_weights": lambda run: load_weights(run, "last")[1].step,
    "run_fingerprint": lambda run: run_fingerprint(run, "last") == run_fingerprint(run, 15) and 15,
    "current_export": exported_step,
    "nmt-export": step_exported_by_command,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", VARIANT)


def train_on(run: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let a training replace the last checkpoint as soon as a reader has found it, `times` times."""
    step = 12

    def found(name: str, path: Path, of_step: int) -> CheckpointInfo:
        nonlocal step
        if of_step == step < 12 + times:
            step += 1
            save_checkpoint(run, step, toy_model(VARIANT, seed=step), {})
            delete_checkpoint(path)
        return CheckpointInfo(name, path, of_step)

    monkeypatch.setattr(checkpoints, "CheckpointInfo", found)


@pytest.mark.parametrize("reader", READERS)
def test_a_checkpoint_that_goes_gives_way_to_the_next(reader: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_on(run, monkeypatch, times=3)
    assert READERS[reader](run) == 15


def test_a_training_that_is_always_faster_is_one_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_on(run, monkeypatch, times=1000)
    with pytest.raises(NmtError, match="its checkpoint was deleted 10 times while it was read: try again"):
        load_weights(run, "last")


def test_what_is_missing_while_nothing_changes_is_said_at_once(run: Path) -> None:
    (run / "checkpoints" / "step-0000000012" / "model.safetensors").unlink()
    with pytest.raises(NmtError, match=r"model\.safetensors is missing"):
        load_weights(run, "last")


def test_no_reader_fails_beside_a_real_training(run: Path) -> None:
    """A process saves checkpoint after checkpoint and keeps one, while this one reads.

    It saves 200, and more on a busy machine, until this process has read more than ten of them.
    """
    enough = run.with_name("enough")
    writer = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nmt.training.checkpoint import delete_others, save_checkpoint\n"
        "from tests.toy_run import toy_model\n"
        f"model = toy_model({VARIANT!r})\n"
        "for step in range(13, 5000):\n"
        "    save_checkpoint(sys.argv[1], step, model, {})\n"
        "    delete_others(sys.argv[1], [step])\n"
        "    if step >= 212 and Path(sys.argv[2]).exists():\n"
        "        break\n"
        "print(step)\n"
    )
    (run / "checkpoints" / "best").unlink()
    command = [sys.executable, "-c", writer, str(run), str(enough)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as training:
        steps = set()
        try:
            while training.poll() is None:
                steps.add(load_weights(run, "last")[1].step)
                check_run(run)
                run_fingerprint(run)
                if len(steps) > 10:
                    enough.touch()
            last = int(training.communicate()[0])
        finally:
            training.kill()
    assert training.returncode == 0
    assert len(steps) > 10, "it read while the other process wrote"
    assert find_checkpoint(run).step == last >= 212
