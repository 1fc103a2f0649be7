"""nmt-heads: a line for each head, as a table or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nmt.cli.heads import main
from tests.evaluation.runs import GOLD, make_run, write_lines, write_texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_texts(folder)
    write_lines(folder / "gold", GOLD)
    for family in ("luong", "transformer"):
        make_run(folder / family, family, folder)
    return folder


def call(folder: Path, family: str, *options: object) -> int:
    files = ["--source", str(folder / "text.de"), "--target", str(folder / "text.en")]
    return main([str(folder / family), *files, "--device", "cpu", *map(str, options)])


def test_the_table_has_the_figures_of_json_and_marks_the_best_alignment(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "transformer", "--gold", folder / "gold", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    places = [("encoder_self", 1), ("decoder_self", 3), ("decoder_cross", 3)]
    names = [f"{key}.{layer}.{head}" for key, layers in places for layer in range(layers) for head in range(4)]
    assert [entry["head"] for entry in entries] == names
    assert call(folder, "transformer", "--gold", folder / "gold") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["head", "importance", "normalised", "entropy", "distance", "AER"]
    best = min(entry["aer"] for entry in entries if entry["aer"] is not None)
    for entry, line in zip(entries, lines, strict=True):
        cells = [entry["head"], f"{entry['importance']:.5f}", f"{entry['normalised']:.3f}"]
        cells += [f"{entry['entropy']:.2f}", f"{entry['distance']:.2f}"]
        if entry["head"].startswith("decoder_cross"):
            cells += [f"{entry['aer']:.4f}", *(["best"] if entry["aer"] == best else [])]
        else:
            assert entry["aer"] is None
        assert line.split() == cells


def test_without_gold_there_is_no_column_for_it_and_a_file_has_what_would_be_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "transformer") == 0
    printed = capsys.readouterr().out
    assert "AER" not in printed
    assert call(folder, "transformer", "-o", tmp_path / "table") == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "table").read_text() == printed


def test_a_model_without_heads_and_bad_gold_are_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "luong") == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "has no heads to measure" in error
    gold = write_lines(tmp_path / "gold", [*GOLD[:5], "0-0 50-0"])
    assert call(folder, "transformer", "--gold", gold) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "line 6" in error and "source word 50" in error
