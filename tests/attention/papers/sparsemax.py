"""Martins and Astudillo 2016, "From Softmax to Sparsemax", for the scores of one query."""

from __future__ import annotations

import torch
from torch import Tensor


def sparsemax(z: Tensor) -> Tensor:
    """Return the weights of scores z [K] (algorithm 1)."""
    ordered = sorted(z, key=Tensor.item, reverse=True)  # z_(1) >= ... >= z_(K)
    # k(z) = max {k : 1 + k z_(k) > sum_{j <= k} z_(j)}
    k = max(k for k in range(1, len(z) + 1) if 1 + k * ordered[k - 1] > sum(ordered[:k]))
    # tau(z) = (sum_{j <= k(z)} z_(j) - 1) / k(z)
    tau = (sum(ordered[:k]) - 1) / k
    # p_i = [z_i - tau(z)]_+
    return torch.stack([z_i - tau if z_i > tau else 0 * z_i for z_i in z])
