"""Tests of nmt-shortlist and of searches with a shortlist: their output, translations and errors."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.cli.shortlist import main
from nmt.data.prepare import prepare
from nmt.data.tokenizer import PAD
from nmt.evaluation.evaluate import Settings, evaluate
from nmt.evaluation.sets import EvaluationSet
from nmt.inference.engines.shortlist import Shortlist
from nmt.runs.run import load_run, read_run_config, run_fingerprint
from nmt.training.train import train
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
LINES = made_up_lines(12, seed=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shortlist")
    search = {"beam_size": 2, "min_length_ratio": 0.8, "max_length_ratio": 1.0, "shortlist": True}
    train(tiny_config(folder, search=search))
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run in another folder; its data stay where they were."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    def call(*arguments: object) -> tuple[int, list[str], str]:
        """Run nmt-translate on LINES; return exit status, translations and stderr."""
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in LINES).encode())))
        status = translate.main(["--device", "cpu", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return status, out.decode().splitlines(), err.decode()

    return call


def test_a_list_is_made_and_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--best", "4", "--first", "7"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run}/shortlist.safetensors\n"
    assert "is prepared already" in err
    prepared = prepare(read_run_config(run), lambda line: None)
    pairs = len(prepared.train)
    assert err.splitlines()[-1] == f"nmt-shortlist: learning from all of {pairs} pairs"
    shortlist = Shortlist.load(run, prepared.tokenizer)
    assert shortlist.likely.shape == (prepared.tokenizer.source_size, 4)
    said = [id for row in range(pairs) for id in prepared.train.target(row).tolist()]
    common = sorted(set(said) - {0, 1, 2, 3}, key=lambda id: (-said.count(id), id))
    assert shortlist.frequent.tolist() == common[:7]
    used = {id for row in range(pairs) for id in prepared.train.source(row).tolist()}
    filled = (shortlist.likely != PAD).any(1).nonzero().flatten().tolist()
    assert set(filled) == used
    # source and target consist of the same words, so the likeliest translation of most pieces is the piece itself
    assert sum(shortlist.likely[id, 0].item() == id for id in used) > len(used) / 2


def test_translations_with_a_list(run: Path, call) -> None:
    whole = call(run, "--search", "shortlist=false")[:2]
    assert whole[0] == 0
    status, answers, said = call(run)
    assert (status, answers) == (1, [])
    assert said == (
        f"nmt-translate: error: search.shortlist=true needs {run}/shortlist.safetensors, which is not there yet: "
        f"run nmt-shortlist {run}\n"
    )
    assert main([str(run), "--first", "100"]) == 0
    assert call(run)[:2] == whole, "a list of everything"
    assert main([str(run), "--best", "1", "--first", "0"]) == 0
    few = call(run)[:2]
    assert few[0] == 0 and few[1] != whole[1]
    assert call(run, "--search", "tokens_per_batch=1")[:2] == few
    assert call(run, run)[:2] == few, "an ensemble takes the first run's list"
    assert call(run, "--search", "shortlist=false")[:2] == whole
    samples = call(run, "--sample", 2)[:2]
    assert samples == call(run, "--sample", 2, "--search", "shortlist=false")[:2], "which are of the whole vocabulary"


def test_a_list_belongs_to_what_is_translated_with(run: Path) -> None:
    test_set = EvaluationSet("other", LINES, LINES)
    settings = Settings(device="cpu")
    before = run_fingerprint(run)
    assert main([str(run)]) == 0
    assert run_fingerprint(run) != before
    assert not evaluate(load_run(run), test_set, settings).reused
    assert evaluate(load_run(run), test_set, settings).reused
    assert main([str(run), "--best", "1", "--first", "0"]) == 0
    assert not evaluate(load_run(run), test_set, settings).reused


def test_as_a_module_the_same_again(run: Path) -> None:
    command = [sys.executable, "-m", "nmt.cli.shortlist", str(run)]
    contents = set()
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"{run}/shortlist.safetensors\n"), done.stderr
        contents.add((run / "shortlist.safetensors").read_bytes())
    assert len(contents) == 1


def without_data(run: Path) -> None:
    path = run / "config.yaml"
    config = path.read_text()
    (line,) = [line for line in config.splitlines() if line.startswith("  path: /")]
    path.write_text(config.replace(line, "  path: gone/elsewhere"))


def with_other_data(run: Path) -> None:
    config = read_run_config(run)
    text = shutil.copytree(config.data.path, run.parent / "text")
    (text / "train.aa").write_text("\n".join(made_up_lines(120, seed=50)) + "\n")
    path = run / "config.yaml"
    path.write_text(path.read_text().replace(config.data.path, str(text)))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without_data, "{run}: the training data, needed to learn from, cannot be read: "
                       "data.path=gone/elsewhere: there is no such folder"),
        (with_other_data, "{run}: the training data have changed since it was trained: restore them, then try again"),
        (lambda run: (run / "environment.json").unlink(), "{run} has no environment.json that records its "
                                                          "training data: train it first"),
        (shutil.rmtree, "{run} does not exist: give the directory of a run"),
    ],
)  # fmt: skip
def test_refusals(
    run: Path, spoil: Callable[[Path], object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run)
    assert main([str(run)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == f"nmt-shortlist: error: {sentence.format(run=run)}"
    assert not (run / "shortlist.safetensors").exists()


@pytest.mark.parametrize("arguments", [[], ["run", "--best", "0"], ["run", "--first", "-1"], ["run", "--best", "few"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    usage, sentence = capsys.readouterr().err.splitlines()
    assert usage == "usage: nmt-shortlist RUN_DIR [--best N] [--first N] | RUN_DIR --dictionary"
    assert sentence.startswith("nmt-shortlist: error: ")
