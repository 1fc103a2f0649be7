"""Sparsemax: the point of the simplex that is nearest to the scores (Martins and Astudillo 2016)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.normalisers.threshold import below_maximum, score_gradient
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig


class Sparsemax(Normaliser):
    """p_j = [z_j - tau(z)]_+ (Martins and Astudillo 2016, proposition 1)."""

    def weights(self, scores: Tensor) -> Tensor:
        return cast(Tensor, _Sparsemax.apply(scores))  # type: ignore[no-untyped-call]


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """Return the weights for scores [..., keys] (Martins and Astudillo 2016, algorithm 1)."""
        z = below_maximum(scores)
        # size of the support: k(z) = max {k : 1 + k z_(k) > sum_{j <= k} z_(j)}
        ordered = z.sort(dim=-1, descending=True).values
        sums = ordered.cumsum(dim=-1)
        k = torch.arange(1, z.size(-1) + 1, device=z.device)
        support = (1 + k * ordered > sums).sum(dim=-1, keepdim=True)
        # threshold: tau(z) = (sum_{j <= k(z)} z_(j) - 1) / k(z)
        tau = (sums.gather(-1, support - 1) - 1) / support
        weights = (z - tau).clamp(min=0)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the scores (Martins and Astudillo 2016, section 2.5): slopes are 1 on the support."""
        (weights,) = ctx.saved_tensors
        return score_gradient((weights > 0).to(weights.dtype), gradient)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> Sparsemax:
    """Return sparsemax."""
    return Sparsemax()
