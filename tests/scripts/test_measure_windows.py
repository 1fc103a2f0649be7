"""Test scripts/measure_windows.py: each pattern is measured in both forms."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_windows as script

from nmt.attention.mixers import softmax


def test_each_pattern_is_measured_in_both_forms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "PAIRS", 2)
    monkeypatch.setattr(script, "TOKENS", 128)
    monkeypatch.setattr(script, "LENGTHS", (64,))
    in_blocks = []
    windowed = softmax.windowed_attention
    monkeypatch.setattr(softmax, "windowed_attention", lambda *a, **k: in_blocks.append(1) or windowed(*a, **k))
    script.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {name}" for name in script.PATTERNS for _ in script.PLACES]
    assert all(re.search(r"\d\.\d\d \(\d+\.\d\d - \d+\.\d\d\) \|$", row) for row in rows)
    assert len(in_blocks) == len(rows) * 3, "one to warm up and two that are measured"
