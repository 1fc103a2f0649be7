"""Test scripts/measure_corpus.py: how it counts lines out of place, and that it writes its figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_corpus as script

from tests.toy_run import made_up_lines, make_run


def test_lines_out_of_place_are_counted(tmp_path: Path) -> None:
    corpus = script.Corpus(tmp_path, [b"a\n", b"b\n"], 5)
    assert corpus.source.read_bytes() == b"a\nb\na\nb\na\n"
    for output, wrong in ((b"x\ny\nx\ny\nx\n", 0), (b"x\ny\nx\nx\ny\n", 2), (b"x\ny\nx\ny\n", 1), (b"x\ny\n" * 3, 1)):
        corpus.output.write_bytes(output)
        assert corpus.out_of_place() == wrong


@pytest.mark.slow
def test_the_script_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results.json")
    source = tmp_path / "source"
    source.write_text("".join(f"{line}\n" for line in [*made_up_lines(300, seed=3), ""]), "utf-8")
    script.main(script.parse([str(make_run(tmp_path / "run")), str(source), "4000", "--work", str(tmp_path)]))
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert (found["lines"], found["tenth"]["lines"], found["lines_out_of_place"]) == (4000, 400, 0)
    assert found["finished_shards_kept"] == found["finished_shards"]
    assert found["tenth"]["peak_mib"] > 50
