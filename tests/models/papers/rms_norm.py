"""Zhang and Sennrich 2019, Root Mean Square Layer Normalization: eq. 4."""

from __future__ import annotations

import math

from torch import Tensor


def rms_norm(a: list[float], g: list[float], epsilon: float) -> list[float]:
    """Return a_i / RMS(a) g_i with RMS(a) = sqrt(1/n sum_i a_i^2); implementations add epsilon to the mean."""
    rms = math.sqrt(sum(a_i**2 for a_i in a) / len(a) + epsilon)
    return [a_i / rms * g_i for a_i, g_i in zip(a, g, strict=True)]


def of_rows(x: Tensor, gain: Tensor, epsilon: float) -> list[list[float]]:
    """Normalise each row of x [rows, n]."""
    return [rms_norm(row, gain.tolist(), epsilon) for row in x.tolist()]
