"""FAVOR+, the attention of Performers: an estimate of softmax attention in linear time (Choromanski et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.attention.mixers.linear import LinearAttention
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Performer(LinearAttention):
    """Linear attention with positive orthogonal random features (FAVOR+, Choromanski et al. 2021).

    For random directions w_1 ... w_m with the distribution N(0, I), phi(x)_r = exp(w_r . x - |x|^2 / 2) / sqrt(m) makes
    phi(q) . phi(k) an unbiased estimate of exp(q . k) (lemma 1). Queries and keys are divided by the fourth root of
    head_dim before, so that exp(q . k) is what softmax attention computes. The factor 1 / sqrt(m) cancels out.

    The directions are drawn once, and shared by the heads of a layer. They are stored with the weights.
    """

    directions: Tensor  # [features, head_dim], w

    def __init__(self, model_dim: int, num_heads: int, features: int, causal: bool) -> None:
        super().__init__(model_dim, num_heads, features, causal)
        self.register_buffer("directions", orthogonal_directions(features, model_dim // num_heads))

    def log_features(self, x: Tensor) -> Tensor:
        x = x / x.size(-1) ** 0.25
        return x @ self.directions.mT - x.square().sum(-1, keepdim=True) / 2


def orthogonal_directions(features: int, dim: int) -> Tensor:
    """Draw random directions [features, dim], each with the distribution N(0, I), and orthogonal within blocks of dim.

    A block is the Q of the decomposition Q R of a random matrix, with the signs for which R has a positive diagonal, as
    Gram-Schmidt orthogonalisation gives it (section 2.4). Only then are the directions uniform on the sphere. Their
    lengths are those of independent vectors.
    """
    blocks = []
    for _ in range(0, features, dim):
        q, r = torch.linalg.qr(torch.randn(dim, dim))
        blocks.append((q * r.diagonal().sign()).mT)
    lengths: Tensor = torch.linalg.vector_norm(torch.randn(features, dim), dim=1, keepdim=True)
    return torch.cat(blocks)[:features] * lengths


def make(config: TransformerConfig, place: Place) -> Performer:
    """Return the FAVOR+ attention of one layer."""
    return Performer(config.model_dim, config.num_heads, config.performer.features, place.causal)
