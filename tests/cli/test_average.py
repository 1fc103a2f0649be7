"""nmt-average: what it averages, what it prints and how it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nmt.cli.average import main
from nmt.run import load_run
from nmt.training.checkpoint import load_weights
from nmt.training.run import train
from tests.toy_run import make_run
from tests.training.tiny import tiny_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("average")
    train(tiny_config(folder, training__keep_best=3, training__validate_every=2, training__best_metric="loss"))
    return folder / "run"


def test_the_best_are_averaged_and_taken_from_then_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_run(trained).checkpoint.name
    assert before.startswith("step-")
    assert main([str(trained)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained}/checkpoints/averaged-0000000006\n"
    assert err == f"nmt-average: {trained}: averaging steps 2, 4, 6 (best)\n"
    run = load_run(trained)
    assert str(run.checkpoint.path) == out.strip()
    several = [load_weights(trained, step)[0]["projection.weight"] for step in (2, 4, 6)]
    torch.testing.assert_close(run.model.projection.weight.detach(), torch.stack(several).mean(0))


def test_as_a_module_with_a_count(trained: Path) -> None:
    command = [sys.executable, "-m", "nmt.cli.average", str(trained), "--of", "last", "--count", "2"]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{trained}/checkpoints/averaged-0000000006\n")
    assert "steps 4, 6 (last)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nowhere"], 1, "nowhere does not exist: give the directory of a run"),
        (["empty"], 1, "empty is not a run directory: it has no config.yaml"),
        (["run", "--of", "last"], 1, "run has kept 1 of its last checkpoints, too few for an average of 2: train with "
                                     "training.keep_last=2 or more"),
        (["run", "--of", "worst"], 2, "argument --of: invalid choice: 'worst'"),
        (["run", "--count", "1"], 2, "argument --count: '1' is not a number from 2"),
        ([], 2, "the following arguments are required: RUN_DIR"),
    ],
)  # fmt: skip
def test_refusals(
    arguments: list[str], status: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    make_run(Path("run"))
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == status
    assert err.splitlines()[-1].startswith(f"nmt-average: error: {sentence}")
