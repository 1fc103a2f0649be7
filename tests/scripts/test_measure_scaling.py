"""Test scripts/measure_scaling.py: it adds its figures to the other results, and shows them in a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_scaling
from measure_scaling import Arrangement


def test_figures_are_added_to_the_others_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process trains 100 and 110 tokens a second in the two rounds, two processes 150 and 220."""
    output = tmp_path / "data_and_scale.json"
    output.write_text(json.dumps({"other": {"kept": 1}, "scaling": {"earlier": entry()}}))
    order: list[int] = []

    def trained(config: Any, arrangement: Arrangement, run_dir: Path, updates: int) -> list[dict[str, float]]:
        order.append(arrangement.processes)
        run_dir.mkdir()
        (run_dir / "environment.json").write_text('{"parameters": 7000}')
        rate = {1: (100, 110), 2: (150, 220)}[arrangement.processes][(len(order) - 1) // 2]
        return [{"target_tokens_per_second": rate, "minutes": step / 60, "step": step} for step in (10, 20)]

    def exchange(arrangement: Arrangement, numbers: int, result: Path) -> dict[str, float]:
        return {"gradients": numbers / 1e5, "losses": 0.01, "agreement": 0.02}

    monkeypatch.setattr(measure_scaling, "trained", trained)
    monkeypatch.setattr(measure_scaling, "exchanged", exchange)
    monkeypatch.setattr(measure_scaling, "prepare", lambda config, log: None)
    arguments = ["embedded", "training.device=cpu", "data.path=SECRET", "--rounds", "2", "-o", str(output)]
    assert measure_scaling.main(arguments) == 0
    assert order == [1, 2, 1, 2]
    written = json.loads(output.read_text())
    assert written["other"] == {"kept": 1}
    key = "embedded training.device=cpu data.path=FOLDER --updates 120 --rounds 2"
    assert set(written["scaling"]) == {"earlier", key}
    ours = written["scaling"][key]
    assert ours["efficiency"] == {"median": 1.75, "low": 1.5, "high": 2.0}
    assert ours["exchange_share"] == pytest.approx(0.1)  # an update takes one second
    page = output.with_suffix(".md").read_text()
    assert page.startswith("# How much text") and page.count("## Scaling") == 1
    assert "| 2 processes of 1 thread | 185 (150 - 220) | 1.75 (1.50 - 2.00) | 10.0% |" in page
    assert "SECRET" not in page


def entry() -> dict[str, Any]:
    return {
        "command": "", "hardware": "", "torch": "", "parameters": 1, "rates": {"1 process": None, "2 processes": None},
        "efficiency": None, "exchange_share": 0.0,
        "exchange_seconds": {"gradients": 0.0, "losses": 0.0, "agreement": 0.0},
    }  # fmt: skip
