"""Tests of nmt-average: the checkpoints that it averages, its output and its errors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nmt.cli.average import main
from nmt.config.load import read_config, save_config
from nmt.runs.run import load_run
from nmt.runs.weights import load_weights
from nmt.training.average import delete_average
from nmt.training.train import train
from tests.toy_run import make_run
from tests.training.tiny import events, tiny_config


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, translated_from_the_start: None) -> Path:
    """Train a run that learns so fast that the average of its last two checkpoints is better than the best checkpoint.

    The average of its best two checkpoints is worse than the best one.
    """
    folder = tmp_path_factory.mktemp("average")
    kept = {"keep_best": 2, "keep_last": 2, "checkpoint_every": 1, "average": "last"}
    changes = {"best_metric": "loss", "learning_rate": 0.2, **kept}
    train(tiny_config(folder, seed=4, **{f"training__{key}": value for key, value in changes.items()}))
    return folder / "run"


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the run without its averaged checkpoint."""
    shutil.copytree(trained_once, tmp_path / "run")
    delete_average(tmp_path / "run")
    return tmp_path / "run"


def figures(run: Path, kind: str) -> str:
    """Return the figures of the run's last event of this kind, formatted as the command prints them."""
    event = events(run, kind)[-1]
    scores = f"BLEU {event['bleu']:.2f}  chrF {event['chrf']:.2f}"
    return f"loss {event['loss']:.3f}  perplexity {event['perplexity']:.2f}  {scores}"


def test_a_better_average_is_taken_from_then_on_and_both_figures_are_those_of_training(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_run(trained).checkpoint.name == "step-0000000006"
    assert main([str(trained), "--of", "last"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained}/checkpoints/averaged-0000000006\n"
    assert err.splitlines() == [
        f"nmt-average: {trained}: averaging steps 5, 6 (last)",
        f"nmt-average: step-0000000006: {figures(trained, 'validation')}",
        f"nmt-average: the average: {figures(trained, 'average')}",
        "nmt-average: the average is better and is taken (--undo takes it back)",
    ]
    run = load_run(trained)
    assert str(run.checkpoint.path) == out.strip()
    several = [load_weights(trained, step)[0]["projection.weight"] for step in (5, 6)]
    torch.testing.assert_close(run.model.projection.weight.detach(), torch.stack(several).mean(0))


def test_a_worse_average_is_not_taken_and_one_taken_before_goes(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = sorted((trained / "checkpoints").rglob("*"))
    assert main([str(trained)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained}/checkpoints/step-0000000006\n"
    assert f"step-0000000006: {figures(trained, 'validation')}\n" in err
    assert "averaging steps 3, 6 (best)" in err and "the average is not taken: step-0000000006 is better" in err
    assert sorted((trained / "checkpoints").rglob("*")) == checkpoints
    assert main([str(trained), "--force"]) == 0
    assert capsys.readouterr().out == f"{trained}/checkpoints/averaged-0000000006\n"
    assert load_run(trained).checkpoint.averaged
    assert main([str(trained)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained}/checkpoints/step-0000000006\n"
    assert "the run's existing averaged checkpoint is deleted, because it is not better than step-0000000006" in err
    assert sorted((trained / "checkpoints").rglob("*")) == checkpoints


def test_a_better_average_that_is_there_stays(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(trained), "--of", "last"]) == 0
    taken = load_weights(trained)[0]["projection.weight"]
    capsys.readouterr()
    assert main([str(trained), "--of", "best"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{trained}/checkpoints/averaged-0000000006\n"
    assert f"the average there already: {figures(trained, 'average')}\n" in err
    assert "the average is not taken: the average there already is better" in err
    assert torch.equal(load_weights(trained)[0]["projection.weight"], taken)


def test_undo_lets_the_best_be_taken_again_and_touches_nothing_else(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = trained / "checkpoints" / "averaged-0000000006.bak"
    own.mkdir()
    before = sorted((trained / "checkpoints").rglob("*"))
    assert main([str(trained), "--force"]) == main([str(trained), "--undo"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(load_run(trained).checkpoint.path) == f"{trained}/checkpoints/step-0000000006"
    assert err.splitlines()[-1] == f"nmt-average: {trained}: the averaged checkpoint is deleted"
    assert sorted((trained / "checkpoints").rglob("*")) == before
    assert main([str(trained), "--undo"]) == 1
    assert "has no averaged checkpoint to delete" in capsys.readouterr().err


def test_where_the_validation_set_is_gone_only_force_averages(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config(trained / "config.yaml")
    config.data.path = str(trained / "nowhere")
    save_config(config, trained / "config.yaml")
    assert main([str(trained)]) == 1
    assert (err := capsys.readouterr().err).count("\n") == 2
    assert "nowhere: there is no such folder" in err and "use --force to take the average without validation" in err
    assert not load_run(trained).checkpoint.averaged
    assert main([str(trained), "--force"]) == 0
    assert load_run(trained).checkpoint.averaged


def test_as_a_module_with_a_count(trained: Path) -> None:
    command = [sys.executable, "-m", "nmt.cli.average", str(trained), "--of", "last", "--count", "2"]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{trained}/checkpoints/averaged-0000000006\n")
    assert "steps 5, 6 (last)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nowhere"], 1, "nowhere does not exist: give the directory of a run"),
        (["empty"], 1, "empty is not a run directory: it has no config.yaml"),
        (["run", "--of", "last"], 1, "run has kept 1 of its last checkpoints, too few for an average of 2: train with "
                                     "training.keep_last=2 or more"),
        (["run", "--undo", "--count", "3"], 2, "--undo cannot be combined with --of, --count or --force"),
        (["run", "--undo", "--force"], 2, "--undo cannot be combined with --of, --count or --force"),
        (["run", "--undo"], 1, "run has no averaged checkpoint to delete"),
        (["run", "--of", "worst"], 2, "argument --of: invalid choice: 'worst'"),
        (["run", "--count", "1"], 2, "argument --count: 1: expected a whole number of at least 2"),
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
