"""Test scripts/measure_order.py, which measures a large epoch with the repeated lengths of a small store."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nmt.data.store_writer import StoreWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_order


def test_lengths_are_repeated_and_figures_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 30 pairs make 7 updates of at most 48 tokens.

    Sources have 2, 3 or 9 tokens, ten pairs each, which are rounded up to 8, 8 and 16. The 20 pairs of 8 tokens make
    updates of 6, 6, 6 and 2 pairs. The 10 pairs of 16 tokens make updates of up to 3 pairs.
    """
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
