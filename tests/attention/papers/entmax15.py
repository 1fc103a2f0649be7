"""Peters et al. 2019, "Sparse Sequence-to-Sequence Models", 1.5-entmax for the scores of one query."""

from __future__ import annotations

import torch
from torch import Tensor


def entmax15(scores: Tensor) -> Tensor:
    """Return the weights of scores [d] (algorithm 2)."""
    z = [score / 2 for score in scores]
    ordered = sorted(z, key=Tensor.item, reverse=True)  # z_[1] >= ... >= z_[d]
    for rho in range(1, len(z) + 1):
        # M(rho) = 1/rho sum_{j <= rho} z_[j], S(rho) = sum_{j <= rho} (z_[j] - M(rho))^2
        mean = sum(ordered[:rho]) / rho
        deviations = sum((each - mean) ** 2 for each in ordered[:rho])
        if deviations > 1:
            break
        # tau(rho) = M(rho) - sqrt((1 - S(rho)) / rho), the threshold if z_[rho + 1] <= tau(rho) <= z_[rho]
        tau = mean - torch.sqrt((1 - deviations) / rho)
        if tau <= ordered[rho - 1] and (rho == len(z) or ordered[rho] <= tau):
            # p_i = [z_i - tau]_+^2
            return torch.stack([(z_i - tau) ** 2 if z_i > tau else 0 * z_i for z_i in z])
    raise AssertionError("there is always a threshold")
