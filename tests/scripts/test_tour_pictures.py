"""Test scripts/tour_pictures.py: the pictures that need no runs can be drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import tour_pictures


@pytest.mark.parametrize("name", ["scores", "patterns", "saturation", "positions", "cost"])
def test_a_picture_is_drawn(name: str, tmp_path: Path) -> None:
    figure = getattr(tour_pictures, name)(tmp_path)
    assert any(axes.has_data() for axes in figure.axes)
