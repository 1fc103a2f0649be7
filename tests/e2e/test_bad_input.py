"""Tests of user mistakes: each gives one clear sentence and exit status 1, without a traceback or lost files.

The commands are called in this process, which saves importing torch for each of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.cli import evaluate, train, translate
from nmt.runs.weights import load_weights
from tests.e2e.conftest import train_arguments

Break = Callable[[Path], None]


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Break:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


DATA: dict[str, tuple[Break, list[str]]] = {
    "unequal line counts": (rewrite("train.en", lambda text: text + b"One more.\n"),
                            ["train.de", "600", "train.en", "601"]),
    "invalid UTF-8": (rewrite("train.de", lambda text: text.replace(b"\n", b"\xff\n", 3).replace(b"\xff", b"", 2)),
                      ["train.de", "line 3"]),
    "an empty file": (rewrite("train.en", lambda text: b""), ["train.en", "empty"]),
    "a missing file": (lambda folder: (folder / "train.de").unlink(), ["train.de"]),
    "no validation set": (lambda folder: (folder / "dev.de").unlink(), ["val", "dev"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_bad_text(case: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "text"
    shutil.copytree(corpus, folder)
    damage, words = DATA[case]
    damage(folder)
    sentence = failure(capsys, *train_arguments(folder, tmp_path / "run", "training.max_steps=2"))
    assert all(word in sentence for word in words), sentence


OVERRIDES = {
    "a vocabulary too large": ("tokenizer.vocab_size=50000", ["tokenizer.vocab_size"]),
    "an unknown key": ("training.max_step=3", ["training.max_step", "training.max_steps"]),
    "a wrong type": ("training.max_steps=many", ["training.max_steps", "many", "number"]),
    "an impossible combination": ("model.num_heads=3", ["model.num_heads", "model.model_dim"]),
    "an unknown model": ("model=transformer_tinny", ["transformer_tinny", "transformer_tiny"]),
    "a schedule without its end": ("training.schedule.name=cosine", ["training.schedule", "horizon"]),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_bad_keys(case: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override, words = OVERRIDES[case]
    sentence = failure(capsys, *train_arguments(corpus, tmp_path / "run"), "training.max_minutes=1", override)
    assert all(word in sentence for word in words), sentence
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_file_where_the_run_should_be(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("precious")
    assert "run" in failure(capsys, *train_arguments(corpus, tmp_path / "run", "training.max_steps=2"))
    assert (tmp_path / "run").read_text() == "precious"


def test_nan_stops_and_the_last_good_checkpoint_stays(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train_arguments(corpus, tmp_path / "run", "training.max_steps=40", "training.checkpoint_every=1",
                                "training.validate_every=40", "training.learning_rate=100",
                                "training.schedule.warmup_steps=30", "training.clip_norm=null")  # fmt: skip
    sentence = failure(capsys, *arguments)
    assert (
        "diverged again after 3 rollback(s)" in sentence
        and "gradient norm" in sentence
        and "sentences of up to" in sentence
    )
    weights, _ = load_weights(tmp_path / "run", "last")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    assert train.main(train_arguments(corpus, run_dir, "training.max_steps=2")) == 0
    return run_dir


RUNS: dict[str, tuple[Break, list[str]]] = {
    "a truncated checkpoint": (rewrite("checkpoints/step-0000000002/model.safetensors", lambda data: data[:-1000]),
                               ["model.safetensors"]),
    "a corrupted checkpoint": (rewrite("checkpoints/step-0000000002/model.safetensors",
                                       lambda data: data[:-1000] + bytes(1000)), ["model.safetensors"]),
    "a missing tokenizer": (lambda run_dir: shutil.rmtree(run_dir / "tokenizer"), ["tokenizer"]),
    "no configuration": (lambda run_dir: (run_dir / "config.yaml").unlink(), ["config.yaml"]),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_bad_runs(case: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    damage, words = RUNS[case]
    damage(run_dir)
    for command, name in ((translate.main, "nmt-translate"), (evaluate.main, "nmt-evaluate")):
        capsys.readouterr()
        (tmp_path / "in").write_text("Ein Hund.\n")
        arguments = [str(run_dir), "-i", str(tmp_path / "in")] if name == "nmt-translate" else [str(run_dir)]
        assert command(arguments) == 1
        sentence = last_line(capsys)
        assert sentence.startswith(f"{name}: error: ")
        assert all(word in sentence for word in words), sentence


def test_a_run_of_another_configuration(trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in trained.rglob("*"))
    sentence = failure(capsys, *train_arguments(corpus, trained, "training.max_steps=2", "seed=9"))
    assert "seed" in sentence and "run_dir" in sentence
    assert sorted(path for path in trained.rglob("*")) == before


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run nmt-train, check that it fails with a message, and return the message."""
    assert train.main(list(arguments)) == 1
    sentence = last_line(capsys)
    assert sentence.startswith("nmt-train: error: ")
    return sentence


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err.strip().splitlines()[-1]
