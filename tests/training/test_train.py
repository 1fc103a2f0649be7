"""Run directories: the files of a run, and when a run is resumed or refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config.data import CorpusConfig
from nmt.config.load import read_config
from nmt.config.schema import Config
from nmt.data.corpora import resolve
from nmt.errors import NmtError
from nmt.inference.translator import Translator
from nmt.runs.checkpoints import find_checkpoint
from nmt.training import train as train_module
from nmt.training.train import train
from tests.training.tiny import assert_same_run, events, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Config:
    config = tiny_config(folder)
    train(config)
    return config


def directory(config: Config) -> Path:
    assert config.run_dir is not None
    return Path(config.run_dir)


def test_a_run_leaves_all_that_passes_between_commands(trained: Config, folder: Path) -> None:
    run = directory(trained)
    assert read_config(run / "config.yaml") == trained
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert set(environment["data"]) == {"train", "val", "tokenizer"}
    kinds = [(event["event"], event["step"]) for event in events(run)]
    assert kinds == [("train", 2), ("validation", 3), ("train", 4), ("train", 6), ("validation", 6), ("end", 6)]
    assert events(run, "end")[0]["parameters"] == environment["parameters"]
    moved = run.rename(folder / "moved")
    assert len(Translator.load(moved, "last", device="cpu").translate(["ba deki.", "lo."])) == 2
    moved.rename(run)


def test_a_trained_run_says_so_and_needs_its_data_no_more(
    trained: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "prepare", None)
    before = events(directory(trained))
    train(trained)
    assert "training.max_steps=6 is reached" in capsys.readouterr().err
    assert events(directory(trained)) == before


@pytest.mark.parametrize("limits", [{"max_epochs": 1}, {"max_minutes": 0.0001}], ids=["epochs", "minutes"])
def test_other_limits_end_a_run_and_hold_when_it_is_called_again(
    folder: Path, limits: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(folder, f"limit-{next(iter(limits))}")
    config.training.max_steps = None
    for key, value in limits.items():
        setattr(config.training, key, value)
    train(config)
    told = events(directory(config))
    assert told[-1]["reason"] == f"training.{next(iter(limits))}={next(iter(limits.values()))}"
    assert told[-2]["event"] == "validation"
    assert find_checkpoint(directory(config), "last").step == told[-1]["step"]
    if "max_epochs" in limits:
        assert [event["epoch"] for event in told[:-2]] == [0] * len(told[:-2])
        assert told[-1]["step"] > 3
    capsys.readouterr()
    train(config)
    assert "is trained already" in capsys.readouterr().err


def test_another_configuration_is_refused_by_name_and_limits_are_not(trained: Config, folder: Path) -> None:
    with pytest.raises(NmtError, match=r"model\.dropout is 0\.3, was 0\.1.*run_dir=OTHER") as refused:
        changes = {"max_steps": 7, "log_every": 1, "keep_best": 2, "keep_last": 3, "average": "best"}
        train(tiny_config(folder, model__dropout=0.3, **{f"training__{key}": value for key, value in changes.items()}))
    assert not any(key in str(refused.value) for key in changes)
    with pytest.raises(NmtError, match=r"seed is 2, was 1"):
        train(tiny_config(folder, seed=2))


def test_max_steps_is_no_mere_limit_where_it_is_the_schedule_s_horizon(folder: Path) -> None:
    linear = {"name": "linear", "warmup_steps": 1}
    train(tiny_config(folder, "linear", training__schedule=linear))
    longer = tiny_config(folder, "linear", training__schedule=linear)
    longer.training.max_steps = 8
    with pytest.raises(NmtError, match=r"training\.max_steps is 8, was 6"):
        train(longer)


def test_changed_data_are_refused(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, training__max_steps=1)
    train(config)
    file = tmp_path / "text" / "train.bb"
    file.write_text(file.read_text("utf-8").replace("ba", "de"), encoding="utf-8")
    config.training.max_steps = 2
    with pytest.raises(NmtError, match=r"the data of .* have changed"):
        train(config)


@pytest.mark.parametrize("there", [False, True])
def test_a_refusal_leaves_nothing(folder: Path, tmp_path: Path, there: bool) -> None:
    """A refused run leaves no lock and no folders, except those that existed before."""
    config = tiny_config(folder, "refused")
    config.tokenizer.vocab_size = 100_000
    config.data.cache = str(tmp_path / "cache" / "deeper")
    config.run_dir = str(tmp_path / "runs" / "refused")
    if there:
        Path(config.run_dir).mkdir(parents=True)
    with pytest.raises(NmtError, match=r"vocab_size=100000 is more than"):
        train(config)
    assert list(tmp_path.rglob("*")) == ([tmp_path / "runs", tmp_path / "runs" / "refused"] if there else [])


def test_an_update_below_the_longest_sentence_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(folder, training__tokens_per_update=3)
    config.run_dir = str(tmp_path / "run")
    with pytest.raises(NmtError, match=r"training\.tokens_per_update=3"):
        train(config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{"ffn_dim: 24": "ffn_dim: 16"}, {"ema_decay: null": "ema_decay: 0.9"}])
def test_a_configuration_changed_under_its_checkpoints_is_one_sentence(copied: Config, changes: dict[str, str]) -> None:
    path = directory(copied) / "config.yaml"
    text = path.read_text("utf-8")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    changed = dataclasses.replace(read_config(path), run_dir=copied.run_dir)
    changed.training.max_steps = 9
    with pytest.raises(NmtError, match=r"the checkpoints of .* do not fit its config\.yaml"):
        train(changed)


def test_a_lock_goes_with_its_training(trained: Config) -> None:
    assert not (directory(trained) / ".lock").exists()


def test_a_missing_test_set_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(folder, "untested")
    config.data.test = {"mine": CorpusConfig(prefix=str(tmp_path / "none"))}
    corpora = resolve(config.data)
    config.data = dataclasses.replace(config.data, path=None, train=corpora.train, val=corpora.val)
    with pytest.raises(NmtError, match=r"data\.test\.mine: .*none\.\w+ is missing"):
        train(config)
    assert not directory(config).exists()


def test_a_device_that_is_not_there_is_refused_also_where_all_is_trained(
    trained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trained = dataclasses.replace(trained, training=dataclasses.replace(trained.training, device="cuda"))
    with pytest.raises(NmtError, match="there is no cuda device here"):
        train(trained)


def test_a_file_in_the_place_of_the_run_directory_is_one_sentence(folder: Path) -> None:
    (folder / "file").write_text("x")
    with pytest.raises(NmtError, match="should be a folder, but a file"):
        train(tiny_config(folder, "file"))
    assert (folder / "file").read_text() == "x"


def test_a_damaged_checkpoint_is_one_sentence(folder: Path) -> None:
    config = tiny_config(folder, "damaged", training__max_steps=3)
    train(config)
    file = find_checkpoint(directory(config), "last").path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    config.training.max_steps = 6
    with pytest.raises(NmtError, match=r"model\.safetensors is damaged"):
        train(config)


@pytest.fixture
def copied(trained: Config, tmp_path: Path) -> Config:
    """A copy of the trained run in another folder, with a configuration to train it to update 9."""
    shutil.copytree(directory(trained), tmp_path / "run")
    return dataclasses.replace(
        trained, run_dir=str(tmp_path / "run"), training=dataclasses.replace(trained.training, max_steps=9)
    )


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        (["config.yaml"], r"has checkpoints but no config\.yaml, so it is unknown whether this is the same run"),
        (["environment.json", "tokenizer"], r"has checkpoints but no environment\.json and no tokenizer, so"),
        (["checkpoints"], r"metrics\.jsonl is from a training whose checkpoints are missing"),
        (["checkpoints/step-*"], r"checkpoints/step-0000000006|has no checkpoint step-0000000006"),
        (["checkpoints/step-*", "checkpoints/last"], r"has no step-\.\.\. folder that training can continue from"),
        (["checkpoints/step-*/training_state.pt"], r"training_state\.pt is missing"),
    ],
)
def test_a_partial_copy_of_a_run_is_refused_and_left_as_it_is(copied: Config, lost: list[str], sentence: str) -> None:
    run = directory(copied)
    for pattern in lost:
        for path in list(run.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = contents(run)
    with pytest.raises(NmtError, match=sentence):
        train(copied)
    assert contents(run) == before


def test_a_copy_without_pointers_is_gone_on_from_and_the_user_s_own_stay(
    copied: Config, trained: Config, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = directory(copied)
    checkpoints = run / "checkpoints"
    for pointer in ("last", "best"):
        (checkpoints / pointer).unlink()
    own = ["step-0000000003.bak", "step-0000000006.bak", "step-notes"]
    for name in own:
        shutil.copytree(checkpoints / "step-0000000006", checkpoints / name)
    train(copied)
    assert "last names no checkpoint: continuing from the newest one, step 6" in capsys.readouterr().err
    assert {path.name for path in checkpoints.iterdir() if len(list(path.glob("*"))) == 3} >= set(own)
    assert find_checkpoint(run, "last").step == find_checkpoint(run, "best").step == 9
    train(dataclasses.replace(copied, run_dir=str(folder / "never-stopped")))
    assert_same_run(run, folder / "never-stopped")


def test_a_file_with_the_name_of_a_checkpoint_is_refused_before_training(copied: Config) -> None:
    (directory(copied) / "checkpoints" / "step-0000000009").write_text("mine")
    with pytest.raises(NmtError, match=r"step-0000000009 is a file, and has the name of a checkpoint's folder"):
        train(copied)
    assert (directory(copied) / "checkpoints" / "step-0000000009").read_text() == "mine"


def test_a_run_directory_in_use_is_refused(trained: Config) -> None:
    holder = """
        import fcntl, sys
        lock = open(sys.argv[1], "w")
        fcntl.lockf(lock, fcntl.LOCK_EX)
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(directory(trained) / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(NmtError, match="another process is training"):
            train(trained)
        process.communicate("")
    train(trained)


def test_compile_that_can_t_be_had_is_said_and_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", no_compiler)
    train(tiny_config(folder, "compiled", training__compile=True, training__max_steps=1))
    said = [line for line in capsys.readouterr().err.splitlines() if "compile" in line and "run" not in line]
    assert said == [
        "training.compile: torch.compile does not work on this machine (no C++ compiler); training continues without it"
    ]  # fmt: skip
    assert find_checkpoint(folder / "compiled", "last").step == 1
