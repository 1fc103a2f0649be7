"""Fixtures for all tests of training."""

from __future__ import annotations

import numpy as np
import pytest

from nmt.training import monitor


@pytest.fixture(autouse=True)
def pictures_take_no_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace heatmaps by blank pictures, except in test_monitor.py: drawing them takes longer than a tiny training."""
    if request.module.__name__.rpartition(".")[2] != "test_monitor":
        blank = np.zeros((2, 2, 3), dtype=np.uint8)
        monkeypatch.setattr(monitor, "heatmap_array", lambda *attention: blank)
