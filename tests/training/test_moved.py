"""Tests of training whose run directory goes: it ends with one sentence and writes nothing to the old place."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.cli import average
from nmt.cli import train as command
from nmt.config.load import save_config
from nmt.training import train as training
from nmt.training import try_average
from nmt.training.checkpoint import save_checkpoint
from nmt.training.monitor import Monitor
from nmt.training.trainer import Trainer
from tests.toy_run import make_run, toy_model
from tests.training import rank_training
from tests.training.ranks import WAIT_IN_SILENCE, launched
from tests.training.tiny import events, tiny_config


def move(run: Path) -> None:
    run.rename(run.with_name("moved"))


def replace(run: Path) -> None:
    """Let another training begin in the old place."""
    move(run)
    run.mkdir()
    (run / ".lock").touch()


GONE: dict[str, Callable[[Path], None]] = {"moved": move, "deleted": shutil.rmtree, "replaced": replace}
# what is written next after the directory has gone during update 2
NEXT: dict[str, dict[str, Any]] = {
    "a line of metrics": {"training__log_every": 1},
    "a validation": {"training__log_every": 100, "training__validate_every": 2},
    "a checkpoint": {"training__log_every": 100, "training__checkpoint_every": 2},
    "an average": {"training__checkpoint_every": 1, "training__average": "last", "training__max_steps": 2},
}


def go(run: Path, how: str, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """Let the directory go in the given call of a method."""
    original, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            GONE[how](run)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)


def check_sentence(run: Path, capsys: pytest.CaptureFixture[str], name: str = "nmt-train") -> None:
    """Train, or average, and check that it fails with a sentence."""
    threads = threading.active_count()
    call = (
        average.main([str(run), "--of", "last"])
        if name == "nmt-average"
        else command.main([str(run.with_suffix(".yaml"))])
    )
    assert call == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(
        f"{name}: error: {run} was moved, deleted or replaced meanwhile, so nothing more is written there: "
    )
    assert said.count("error") == 1
    assert "Traceback" not in said
    assert threading.active_count() == threads


def check_place(run: Path, how: str) -> None:
    """Check that nothing is in the old place, or only the lock of the other training."""
    assert [path.name for path in run.rglob("*")] == ([".lock"] if how == "replaced" else [])
    assert run.exists() == (how == "replaced")


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("a line of metrics", "moved"),
        ("a validation", "deleted"),
        ("a checkpoint", "moved"),
        ("a checkpoint", "replaced"),
        ("an average", "replaced"),
    ],
)
def test_a_directory_that_goes_ends_training(
    then: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    save_config(tiny_config(tmp_path, **NEXT[then]), run.with_suffix(".yaml"))
    if then == "an average":
        go(run, how, monkeypatch, Monitor, "averaged", 1)
    else:
        go(run, how, monkeypatch, Trainer, "train_step", 2)
    check_sentence(run, capsys)
    check_place(run, how)


@pytest.mark.parametrize(("during", "how"), [("build_model", "moved"), ("_tokens_per_device", "replaced")])
def test_a_directory_that_goes_before_the_first_update(
    during: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    save_config(tiny_config(tmp_path), run.with_suffix(".yaml"))
    go(run, how, monkeypatch, training, during, 1)
    check_sentence(run, capsys)
    check_place(run, how)


def test_a_moved_run_goes_on_in_its_new_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    save_config(tiny_config(tmp_path, training__checkpoint_every=1), run.with_suffix(".yaml"))
    with pytest.MonkeyPatch.context() as patch:
        go(run, "moved", patch, Trainer, "train_step", 4)
        check_sentence(run, capsys)
    assert command.main([str(run.with_suffix(".yaml")), f"run_dir={tmp_path / 'moved'}"]) == 0
    assert "from step 3" in capsys.readouterr().err
    assert [event["step"] for event in events(tmp_path / "moved", "validation")] == [3, 6]
    assert not (tmp_path / "moved" / ".lock").exists()


@pytest.mark.parametrize("how", GONE)
def test_a_directory_that_goes_while_an_average_is_validated(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", step=12)
    save_checkpoint(run, 24, toy_model("transformer-post"), {"step": 24})
    monkeypatch.setattr(try_average, "_validate", lambda *_: GONE[how](run) or {"the average": None})
    check_sentence(run, capsys, "nmt-average")
    check_place(run, how)


def test_two_processes_end_with_one_sentence(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    save_config(config, tmp_path / "run.yaml")
    ended = launched(rank_training.main, [[f"{tmp_path / 'run.yaml'}:moved:0"]] * 2, WAIT_IN_SILENCE)
    assert [process.status for process in ended] == [1, 1], ended
    errors = [line for process in ended for line in process.said.splitlines() if "error" in line]
    assert len(errors) == 1 and "was moved, deleted or replaced meanwhile" in errors[0], ended
    assert not (tmp_path / "run").exists()
