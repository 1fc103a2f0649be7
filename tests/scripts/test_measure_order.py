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
    """Ten each of 2, 3 and 4 tokens, 12 an update: 6 and 4 of 2, 4 and 4 of 3, 2 with one of 4, 3 times 3 of 4."""
    output = tmp_path / "data_and_scale.json"
    monkeypatch.setattr(measure_order.data_and_scale, "RESULTS", output)
    folder = tmp_path / "store"
    folder.mkdir()
    with StoreWriter(folder, 400, 400) as writer:
        for length in (2, 3, 4):
            writer.add([7] * length, [8] * 2, "source", "target")
    measure_order.main(str(tmp_path / "store"), 30, 12)
    entry = json.loads(output.read_text())["order"]
    assert (entry["pairs"], entry["updates"]) == (30, 8)
    assert entry["peak_mib"] >= entry["lengths_mib"] > 0 and entry["seconds"] >= 0
    page = output.with_suffix(".md").read_text()
    assert "30 pairs" in page and "8 updates are put in order" in page
    assert "`python scripts/measure_order.py STORE 30 12`" in page
    assert str(tmp_path) not in page
