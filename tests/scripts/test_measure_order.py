"""The order of a large epoch is measured on the lengths of a small store."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nmt.data.store import StoreWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_order


def test_lengths_are_repeated_and_figures_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten each of 2, 3 and 9 tokens, that is, of 8, 8 and 16, with 48 an update: three times 6 and 2, then 3 a time."""
    output = tmp_path / "data_and_scale.json"
    monkeypatch.setattr(measure_order.data_and_scale, "RESULTS", output)
    folder = tmp_path / "store"
    folder.mkdir()
    with StoreWriter(folder, 400, 400) as writer:
        for length in (2, 3, 9):
            writer.add([7] * length, [8] * 2, "source", "target")
    measure_order.main(str(tmp_path / "store"), 30, 48)
    entry = json.loads(output.read_text())["order"]
    assert (entry["pairs"], entry["updates"]) == (30, 7)
    assert entry["peak_mib"] >= entry["lengths_mib"] > 0 and entry["seconds"] >= 0
    page = output.with_suffix(".md").read_text()
    assert "30 pairs" in page and "7 updates are put in order" in page
    assert "`python scripts/measure_order.py STORE 30 48`" in page
    assert str(tmp_path) not in page
