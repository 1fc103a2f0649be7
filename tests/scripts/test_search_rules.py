"""Test scripts/search_rules.py: the choice of alpha, and that the former rules give the former translations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import search_rules  # noqa: E402

KEPT = ROOT / "tests" / "earlier" / "schema_1"


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Write sentences, and the translations that an earlier version of nmt made of them with its search rules."""
    lines = [line.split("\t") for line in (KEPT / "rnnsearch" / "translations.tsv").read_text("utf-8").splitlines()]
    files = [tmp_path / "source", tmp_path / "reference"]
    for file, side in zip(files, zip(*lines, strict=True), strict=True):
        file.write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return files


def test_the_script_compares_the_two_sets_of_rules(
    tmp_path: Path, texts: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, reference = map(str, texts)
    output = tmp_path / "rules.json"
    asked = [str(KEPT / "rnnsearch"), str(KEPT / "luong"), "--source", source, "--reference", reference]
    asked += ["--test-source", source, "--test-reference", reference, "--alpha", "0.0", "1.4", "--rounds", "2"]
    assert search_rules.main([*asked, "--device", "cpu", "-o", str(output)]) == 0
    found = json.loads(output.read_text("utf-8"))
    assert found["rnnsearch"]["test"]["earlier"]["bleu"]["score"] == pytest.approx(100)
    assert found["luong"]["test"]["earlier"]["bleu"]["score"] < 100
    for entry in found.values():
        chosen = next(each for each in entry["val"] if each["alpha"] == entry["alpha"])
        assert chosen["bleu"] == entry["test"]["shared"]["bleu"], "validation and test text are the same file"
    table = capsys.readouterr().out
    assert table in output.with_suffix(".md").read_text("utf-8")
    assert table.count("\n") == 4 and "| rnnsearch |" in table


def test_alpha_is_chosen_by_the_mean_over_the_runs() -> None:
    scores = [[30.0, 31.0, 20.0], [30.0, 28.0, 39.0]]
    runs = [[{"bleu": {"score": score}} for score in run] for run in scores]
    assert search_rules.best([0.4, 0.6, 0.8], runs) == 0.4
    assert search_rules.best([0.4, 0.6, 0.8], runs[1:]) == 0.8


def test_a_reference_of_another_length_is_refused(texts: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    texts[1].write_text("kilo.\n", encoding="utf-8")
    assert search_rules.main([str(KEPT / "luong"), "--source", str(texts[0]), "--reference", str(texts[1])]) == 1
    assert "has 8 lines but" in capsys.readouterr().err
