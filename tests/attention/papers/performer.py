"""The positive random features of FAVOR+, from Choromanski et al. 2021."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def positive_features(x: Tensor, w: Tensor) -> Tensor:
    """Return phi(x) [m] of a vector x [d] for directions w [m, d] (eq. 5, lemma 1), where softmax has 1 / sqrt(d)."""
    d, m = len(x), len(w)
    x = torch.stack([x[i] / d ** (1 / 4) for i in range(d)])
    h = torch.exp(-sum(x[i] ** 2 for i in range(d)) / 2)
    return torch.stack([h / math.sqrt(m) * torch.exp(sum(w[r, i] * x[i] for i in range(d))) for r in range(m)])
