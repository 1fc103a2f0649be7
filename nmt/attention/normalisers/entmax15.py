"""1.5-entmax: half-way between softmax and sparsemax, with an exact algorithm (Peters et al. 2019)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.normalisers.threshold import below_maximum, score_gradient
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig


class Entmax15(Normaliser):
    """p_j = [z_j / 2 - tau(z)]_+^2 (Peters et al. 2019, alpha-entmax with alpha = 1.5)."""

    def weights(self, scores: Tensor) -> Tensor:
        return cast(Tensor, _Entmax15.apply(scores))  # type: ignore[no-untyped-call]


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """Return the weights for scores [..., keys] (Peters et al. 2019, algorithm 2)."""
        z = below_maximum(scores, 0.5)
        # mean M(k) and sum of squared deviations S(k) of the k largest scores, for every k
        ordered = z.sort(dim=-1, descending=True).values
        k = torch.arange(1, z.size(-1) + 1, device=z.device)
        mean = ordered.cumsum(dim=-1) / k
        deviations = ordered.square().cumsum(dim=-1) - k * mean.square()
        # threshold of a support of k keys: tau(k) = M(k) - sqrt((1 - S(k)) / k)
        tau = mean - ((1 - deviations).clamp(min=0) / k).sqrt()
        # size of the support: the largest k whose k-th score reaches its threshold
        support = (tau <= ordered).sum(dim=-1, keepdim=True)
        roots = (z - tau.gather(-1, support - 1)).clamp(min=0)
        ctx.save_for_backward(roots)
        return roots.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the scores: the slopes are s_j = sqrt(p_j)."""
        (roots,) = ctx.saved_tensors
        return score_gradient(roots, gradient)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> Entmax15:
    """Return 1.5-entmax."""
    return Entmax15()
