"""Entmax whose alpha is learned: each head finds out how sparse its attention should be (Correia et al. 2019)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.normalisers.threshold import below_maximum, score_gradient
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig

_MARGIN = 0.01  # how close alpha can come to 1 and 2, where the equations divide by zero
# Newton's method has converged in float64 after 9 steps, for up to 1000 keys and for all alphas
_STEPS = 10


class Entmax(Normaliser):
    """p_j = [(alpha - 1) z_j - tau(z)]_+^{1 / (alpha - 1)} (Peters et al. 2019; Correia et al. 2019).

    Each head has its own alpha, between 1 (softmax) and 2 (sparsemax).
    """

    not_decayed = ("alpha_logits",)

    def __init__(self, heads: int, alpha: float) -> None:
        """Create the entmax of this many heads, all of which start with this alpha."""
        super().__init__()
        share = (alpha - 1 - _MARGIN) / (1 - 2 * _MARGIN)
        self.alpha_logits = nn.Parameter(torch.full((heads, 1, 1), math.log(share / (1 - share))))

    @property
    def alpha(self) -> Tensor:
        """alpha = 1 + sigmoid(a) of each head [heads, 1, 1] (Correia et al. 2019), kept off both ends."""
        return 1 + _MARGIN + (1 - 2 * _MARGIN) * torch.sigmoid(self.alpha_logits)

    def weights(self, scores: Tensor) -> Tensor:
        return cast(Tensor, _Entmax.apply(scores, self.alpha.to(scores.dtype)))  # type: ignore[no-untyped-call]


class _Entmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, alpha: Tensor) -> Tensor:
        """Return the weights for scores [..., keys]; alpha broadcasts to the scores.

        tau is where the norm ||[z - tau]_+|| with exponent 1 / (alpha - 1) is 1. The norm is convex in tau, so Newton's
        method comes nearer to tau in each step if it starts below it: at -1, where the largest score, 0, alone has a
        weight of 1. Bisection (Peters et al. 2019, algorithm 1) finds the same tau in about five times as many steps.
        """
        exponent = 1 / (alpha - 1)
        z = below_maximum(scores, alpha - 1)
        tau = torch.full_like(z[..., :1], -1.0)
        for _ in range(_STEPS):
            above = (z - tau).clamp(min=0)
            powers = above ** (exponent - 1)
            total = (above * powers).sum(dim=-1, keepdim=True)
            tau = tau + (total - total ** (2 - alpha)) / powers.sum(dim=-1, keepdim=True)
        weights = (z - tau).clamp(min=0) ** exponent
        weights = weights / weights.sum(dim=-1, keepdim=True)  # rounding errors
        ctx.save_for_backward(weights, alpha)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the scores and of alpha (Correia et al. 2019, proposition 1)."""
        p, alpha = ctx.saved_tensors
        # slopes s_j = p_j^{2 - alpha}, 0 where p_j = 0, and their shares p~_j
        slopes = torch.where(p > 0, p ** (2 - alpha), 0.0)
        shares = slopes / slopes.sum(dim=-1, keepdim=True)
        # dp_j / dalpha = (p_j - p~_j) / (alpha - 1)^2 + (h_j - p~_j sum_k h_k) / (alpha - 1) with h_j = -p_j log p_j
        h = -torch.special.xlogy(p, p)
        by_alpha = (p - shares) / (alpha - 1) ** 2 + (h - shares * h.sum(dim=-1, keepdim=True)) / (alpha - 1)
        return score_gradient(slopes, gradient), (gradient * by_alpha).sum_to_size(alpha.shape)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> Entmax:
    """Return the entmax that `model.entmax` describes, with an alpha for each head."""
    return Entmax(heads, config.entmax.alpha)
