"""Run the recipe scripts on a small part of the embedded corpus, with tiny models."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest

from nmt.errors import NmtError
from nmt.resources import embedded_corpus
from nmt.runs.run import read_run_config
from tests.forked import forked

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = [
    "model.model_dim=16", "model.ffn_dim=16", "model.num_heads=2", "model.encoder_layers=1", "model.decoder_layers=1",
    "tokenizer.vocab_size=250", "training.tokens_per_update=1200", "training.device=cpu", "search.beam_size=1",
    "training.learning_rate=0.02", "training.schedule.warmup_steps=5", "search.max_length_ratio=1.0",
    "training.validation_sentences=4",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    for name, count in (("train", 160), ("dev", 4), ("test", 6)):
        for language in ("de", "en"):
            lines = (embedded_corpus() / f"{name}.{language}").read_text("utf-8").split("\n")[:count]
            (tmp_path / "text" / f"{name}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def in_a_fork(words: Sequence[object], *, stderr: TextIO, **_: object) -> subprocess.CompletedProcess[str]:
    """Do what subprocess.run does with an installed command, without the seconds of a start."""
    program, *arguments = map(str, words)
    assert os.access(program, os.X_OK)
    outcome = forked(Path(program).name, arguments)
    stderr.write(outcome.err)
    return subprocess.CompletedProcess(words, outcome.status, outcome.out)


def run(patch: pytest.MonkeyPatch, folder: Path, script: str, *options: str) -> dict[str, Any]:
    """Run a script and return the figures that it writes."""
    words = [
        "--config",
        "embedded",
        "--updates",
        "10",
        "--runs",
        str(folder / "runs"),
        "--results",
        str(folder / "out"),
    ]
    cache = f"data.cache={folder / 'cache'}"
    patch.syspath_prepend(SCRIPTS)
    patch.setattr(sys, "argv", [f"{script}.py", str(folder / "text"), *TINY, cache, *words, *options])
    patch.setattr(subprocess, "run", in_a_fork)
    importlib.import_module(script).main()
    figures: dict[str, Any] = json.loads((folder / "out" / f"{script}.json").read_text("utf-8"))
    return figures


@pytest.mark.slow
def test_back_translation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = run(monkeypatch, folder, "back_translation", "--systems", "tagged")
    page = (folder / "out" / "back_translation.md").read_text("utf-8")
    scores = figures["systems"]["tagged"]["1"]
    assert f"| tagged | and back-translations, tag `bt` | {scores['bleu']['score']:.2f} | " in page
    assert scores["sentences"] == 6
    runs = folder / "runs"
    turned, tagged = (read_run_config(runs / name).data for name in ("back-1", "tagged-1"))
    assert (turned.source_language, turned.target_language) == ("en", "de")
    real, synthetic = tagged.train
    assert (real.tag, synthetic.tag) == (None, "bt")
    train = [(folder / "text" / f"train.{language}").read_text("utf-8").splitlines() for language in ("de", "en")]
    assert Path(f"{real.prefix}.de").read_text("utf-8").splitlines() == train[0][::2]
    assert Path(str(synthetic.target)).read_text("utf-8").splitlines() == train[1][1::2]
    made = Path(str(synthetic.source)).read_text("utf-8").splitlines()
    assert len(made) == 80 and made != train[0][1::2]
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")}
    assert run(monkeypatch, folder, "back_translation", "--systems", "tagged")["systems"] == figures["systems"], (
        "a second call reuses all files"
    )
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.safetensors")} == before


@pytest.mark.slow
def test_distillation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = "model.model_dim=8,model.ffn_dim=8"
    figures = run(monkeypatch, folder, "distillation", "--student", student, "--students", "both", "--beam-size", "1")
    (teacher,) = figures["teachers"]
    small = figures["students"]["both"]["1"]
    assert small["parameters"] < teacher["parameters"]
    assert small["greedy"]["sentences_per_second"] > 0
    corpora = read_run_config(folder / "runs" / "both-1").data.train
    assert [Path(str(corpus.prefix or corpus.target)).name.split("-")[0] for corpus in corpora] == [
        "train",
        "distilled",
    ]
    assert len(Path(str(corpora[1].target)).read_text("utf-8").splitlines()) == 160
    assert f"| both | both | {small['parameters']:,} | " in (folder / "out" / "distillation.md").read_text("utf-8")


def test_other_text_in_the_same_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    experiment = importlib.import_module("experiment")
    words = [str(folder / "text"), "--config", "embedded", "--runs", str(folder / "runs")]
    made = experiment.Experiment(experiment.parser(None, "some").parse_args(words))
    made.write_text("first", made.train_pairs()), made.held_out("val")
    made.write_text("first", made.train_pairs()), made.held_out("val")  # as when a script is called again
    with pytest.raises(NmtError, match=r"first.de differs from the text in .*: choose another --runs"):
        made.write_text("first", made.train_pairs()[1:])
    (folder / "text" / "dev.en").write_text("other\n" * 4)
    with pytest.raises(NmtError, match=r"val.en differs from the text in"):
        made.held_out("val")
