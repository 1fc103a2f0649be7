"""nmt-draft and searches with what it makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.cli.draft import main
from nmt.engines.draft import SentenceDrafter
from nmt.training.run import train
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
LINES = made_up_lines(12, seed=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draft")
    train(tiny_config(folder, search={"beam_size": 1, "max_length_ratio": 1.0}))
    return folder / "run"


def call(run: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    (folder / "source").write_text("".join(f"{line}\n" for line in LINES))
    (folder / "answers").unlink(missing_ok=True)
    status = translate.main([str(run), "-i", str(folder / "source"), "-o", str(folder / "answers"), "--device", "cpu",
                             *arguments])  # fmt: skip
    return status, (folder / "answers").read_text() if (folder / "answers").exists() else ""


def test_a_draft_is_made_and_changes_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ("--search", "tokens_per_batch=1")
    plain = call(run, tmp_path, *alone)
    assert plain[0] == 0
    capsys.readouterr()
    assert call(run, tmp_path, "--search", "draft=true") == (1, "")
    assert capsys.readouterr().err == (
        f"nmt-translate: error: search.draft=true needs {run}/draft.safetensors, which is not there yet: run nmt-draft "
        f"{run}\n"
    )
    command = [sys.executable, "-m", "nmt.cli.draft", str(run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{run}/draft.safetensors\n"), done.stderr
    content = (run / "draft.safetensors").read_bytes()
    assert main([str(run)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run}/draft.safetensors\n" and "nmt-draft: learning from all of" in err
    assert (run / "draft.safetensors").read_bytes() == content
    guessed = []
    guess = SentenceDrafter.guess
    monkeypatch.setattr(
        SentenceDrafter, "guess", lambda self, said, count: guessed.append(guess(self, said, count)) or guessed[-1]
    )
    assert call(run, tmp_path, "--search", "draft=true", *alone) == plain
    assert any(len(each) == 3 for each in guessed)
    assert call(run, tmp_path, "--search", "draft=true", "--beam-size", "2") == (1, "")
    assert "choose search.beam_size=1, or search.draft=false" in capsys.readouterr().err


def test_refusals(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "draft.safetensors").unlink(missing_ok=True)
    config = (copy / "config.yaml").read_text()
    (line,) = [line for line in config.splitlines() if line.startswith("  path: /")]
    (copy / "config.yaml").write_text(config.replace(line, "  path: gone/elsewhere"))
    assert main([str(copy)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == (
        f"nmt-draft: error: {copy}: its training data, which a draft is made of, cannot be had: "
        "data.path=gone/elsewhere: there is no such folder"
    )
    assert not (copy / "draft.safetensors").exists()
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: nmt-draft RUN_DIR\nnmt-draft: error: ")
