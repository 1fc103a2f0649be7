"""Runs of version 1 of the schema, one of each family, trained and kept as the code of that version wrote them.

translations.tsv has sentences, and what that code translated them to by its default rules.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.config.schema import SearchConfig
from nmt.translate import Translator

RUNS = sorted(path for path in Path(__file__).with_name("schema_1").iterdir() if path.is_dir())
EARLIER = ["--search", "length_normalisation=gnmt", "--search", "stop=exact", "--length-penalty", "1.0"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_family_has_one() -> None:
    assert {run.name for run in RUNS} == {"luong", "rnn_encdec", "rnnsearch", "transformer"}


@pytest.mark.parametrize("kept", RUNS, ids=lambda run: run.name)
def test_it_translates_by_the_earlier_rules_as_it_did(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    lines = [line.split("\t") for line in (run / "translations.tsv").read_text("utf-8").splitlines()]
    source = tmp_path / "source"
    source.write_text("".join(f"{sentence}\n" for sentence, _ in lines), encoding="utf-8")
    before = contents(run)
    assert translate.main([str(run), "-i", str(source), *EARLIER, "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [translation for _, translation in lines]
    assert err.count("is from a time when search had other default rules") == 1
    assert contents(run) == before


@pytest.mark.parametrize("kept", RUNS, ids=lambda run: run.name)
def test_it_has_todays_rules_by_default(kept: Path) -> None:
    translator = Translator.load(kept, device="cpu")
    assert translator.search == SearchConfig()
    assert translator.translate("kilo.")
