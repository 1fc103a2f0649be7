"""Test scripts/benchmark_attention.py: what it computes from times, and one measurement."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import benchmark_attention as benchmark


def rows(seconds: dict[int, float]) -> list[benchmark.Row]:
    return [{"length": length, "seconds": value} for length, value in seconds.items()]


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_exponent_is_the_slope_of_the_logarithms(power: float) -> None:
    times = {length: 3e-7 * length**power for length in (2048, 4096, 8192)}
    assert benchmark.exponent(rows({64: 1.0, 1024: 9.0, **times})) == pytest.approx(power)
    assert benchmark.exponent(rows({64: 1.0, 2048: 2.0})) is None


@pytest.mark.parametrize(
    ("seconds", "since"),
    [([1, 1, 1], 64), ([9, 1, 1], 128), ([1, 9, 1], 256), ([9, 9, 9], None), ([2, 2, 2], None)],
)
def test_overtaking_is_for_good(seconds: list[float], since: int | None) -> None:
    full = rows({64: 2.0, 128: 2.0, 256: 2.0})
    assert benchmark.overtakes(rows(dict(zip((64, 128, 256), seconds, strict=True))), full) == since


def test_a_causal_layer_is_measured_with_its_steps() -> None:
    row = benchmark.measure("ssru", "decoder_self", 8)
    assert row["seconds"] > 0 and row["step_seconds"] > 0 and row["state_bytes"] == 4 * benchmark.DIM


def test_what_cannot_stand_in_an_encoder_is_left_out() -> None:
    assert benchmark.config_of("ssru", "encoder_self") is None
    assert benchmark.config_of("softmax", "encoder_self") is not None


def test_the_page_has_a_row_for_each_mixer() -> None:
    times = rows({2048: 1.0, 4096: 4.0})
    faster = rows({2048: 0.5, 4096: 1.0})
    page = benchmark.page({"softmax encoder_self": times, "sliding encoder_self": faster})
    assert "| `softmax` |  | 1,000.00 |  |  | 2.00 |  |" in page
    assert "| `sliding` |  | 500.00 |  |  | 1.00 | 2,048 |" in page
    assert "decoder" not in page.split("##", 1)[1]
