"""Test that runs of earlier versions of the schema still load and translate as before.

Each schema_*/FAMILY is a run as the code of that version wrote it. Its translations.tsv has sentences and their
translations by that code with its default search rules.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.config.schema import SearchConfig
from nmt.inference.translator import Translator
from nmt.models.build import build_model
from nmt.runs.run import load_run
from nmt.runs.weights import read_weights

HERE = Path(__file__).parent
RUNS = sorted(path for path in HERE.glob("schema_*/*") if path.is_dir())
RULES_OF_1 = ["--search", "length_normalisation=gnmt", "--search", "stop=exact", "--length-penalty", "1.0"]
ALL = pytest.mark.parametrize("kept", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("version", ["schema_1", "schema_2"])
def test_there_is_a_run_of_each_family(version: str) -> None:
    assert {run.name for run in RUNS if run.parent.name == version} == {
        "luong",
        "rnn_encdec",
        "rnnsearch",
        "transformer",
    }


@ALL
def test_an_old_run_translates_as_before_and_is_not_modified(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 1 had other default search rules: given as options, they give its translations, and a note says why."""
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    lines = [line.split("\t") for line in (run / "translations.tsv").read_text("utf-8").splitlines()]
    source = tmp_path / "source"
    source.write_text("".join(f"{sentence}\n" for sentence, _ in lines), encoding="utf-8")
    of_version_1 = kept.parent.name == "schema_1"
    before = contents(run)
    assert translate.main([str(run), "-i", str(source), *(RULES_OF_1 if of_version_1 else []), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [translation for _, translation in lines]
    assert err.count("is from a time when search had other default rules") == of_version_1
    assert contents(run) == before


@ALL
def test_an_old_run_uses_the_current_search_rules_by_default(kept: Path) -> None:
    translator = Translator.load(kept, device="cpu")
    assert translator.search == SearchConfig()
    assert translator.translate("kilo.")


@ALL
def test_old_weights_are_read_under_their_current_names(kept: Path) -> None:
    run = load_run(kept)
    fresh = build_model(run.config.model, run.tokenizer.source_size, run.tokenizer.target_size)
    assert read_weights(run.checkpoint.path / "model.safetensors").keys() == fresh.state_dict().keys()
