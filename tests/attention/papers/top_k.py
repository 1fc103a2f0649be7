"""Zhao et al. 2019, "Explicit Sparse Transformer", for the scores of one query."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(z: Tensor, k: int) -> Tensor:
    """Return the softmax of M(z, k), which keeps the scores that are at least t, the k-th largest of z [d]."""
    t = sorted(z.tolist(), reverse=True)[: min(k, len(z))][-1]
    exponentials = [torch.exp(z_j) if z_j >= t else 0 * z_j for z_j in z]
    return torch.stack([each / sum(exponentials) for each in exponentials])
