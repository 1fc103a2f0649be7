"""Test scripts/quality.py: the results page of presets, and the systems that are on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import quality as script
import quality_larger
import quality_multi30k

from nmt.config.load import load_config


def scores(bleu: float) -> dict[str, Any]:
    return {
        metric: {"score": score, "signature": metric}
        for metric, score in zip(script.METRICS, (bleu, 50, 60), strict=True)
    }


def found(preset: str, tests: dict[str, float]) -> dict[str, Any]:
    return {
        "preset": preset,
        "scores": {test: scores(bleu) for test, bleu in tests.items()},
        "parameters": 5_306_176,
        "validations": [(5.0, 10.0), (29.0, 21.0), (31.0, 20.0), (61.0, 22.5)],
        "target_tokens_per_second": 1582.6,
        "validation_bleu": 22.5,
        "best_after_minutes": 61.0,
        "updates": 4000,
        "perplexities": {"training": 10.25, "validation": 20.0},
        "environment": {"hardware": "a processor", "torch": "2", "cpu_threads": 1},
    }


def test_the_page_has_a_row_for_each_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    systems = {"one": script.System("a", {"t": "test (2)"}), "two": script.System("b", {"t": "T (1)", "u": "U (1)"})}
    quality = script.Quality("name", "Title", "command", systems, [30, 60], "So it is.")
    quality.write({"one": found("a", {"t": 31.234}), "two": found("b", {"t": 1.0, "u": 2.0})})
    lines = (tmp_path / "name.md").read_text("utf-8").splitlines()
    assert "| one | `a` | test (2) | 31.23 | 50.00 | 60.00 | 5,306,176 | 61.0 | 1,583 | 22.50 |" in lines
    assert [line.split(" | ")[2:4] for line in lines if line.startswith("| two")] == [
        ["T (1)", "1.00"],
        ["U (1)", "2.00"],
    ]
    assert [line for line in lines if line[:3] in ("| 3", "| 6")] == [
        "| 30 | 21.00 | 21.00 |",
        "| 60 | 21.00 | 21.00 |",
    ]
    assert lines[-4:] == [
        "- one: 10.2 and 20.0, after 4,000 updates",
        "- two: 10.2 and 20.0, after 4,000 updates",
        "",
        "So it is.",
    ]
    assert len(json.loads((tmp_path / "name.json").read_text("utf-8"))["systems"]["two"]["validations"]) == 4


@pytest.mark.parametrize("systems", [quality_multi30k.SYSTEMS, quality_larger.SYSTEMS])
def test_each_system_names_the_test_sets_of_its_preset(systems: dict[str, script.System]) -> None:
    for system in systems.values():
        assert set(system.tests) == set(load_config(system.preset).data.test)


def test_figures_at_the_best_validation() -> None:
    events = [
        {"event": "train", "step": 50, "perplexity": 9.0},
        {"event": "validation", "step": 50, "bleu": 1.0, "perplexity": 30.0},
        {"event": "train", "step": 90, "perplexity": 8.0},
        {"event": "train", "step": 100, "perplexity": 7.0},
        {"event": "validation", "step": 100, "bleu": 3.0, "perplexity": 20.0},
        {"event": "train", "step": 150, "perplexity": 6.0},
        {"event": "validation", "step": 150, "bleu": 2.0, "perplexity": 10.0},
    ]
    found = script.at_the_best(events)
    assert found == {"updates": 100, "perplexities": {"training": 7.0, "validation": 20.0}}
