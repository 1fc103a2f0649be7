"""The Fourier mixing of FNet, from Lee-Thorp et al. 2022."""

from __future__ import annotations

import cmath

import torch
from torch import Tensor


def dft(x: Tensor) -> Tensor:
    """Return X_k = sum_n x_n exp(-2 pi i n k / N) for x [N, columns], each column by itself."""
    size = len(x)
    return torch.stack([sum(x[n] * cmath.exp(-2j * cmath.pi * n * k / size) for n in range(size)) for k in range(size)])


def fnet(x: Tensor) -> Tensor:
    """Return Re(F_seq(F_h(x))) for one sentence x [length, dim]."""
    hidden = dft(x.to(torch.complex128).T).T
    return dft(hidden).real
