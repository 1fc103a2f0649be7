"""Sukhbaatar et al. 2019, Adaptive Attention Span in Transformers, section 2.2."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.attention.papers.self_attention import Weights, self_attention


def soft_mask(z: Tensor, x: int, ramp: int) -> Tensor:
    """Return m_z(x) = min[max[(R + z - x) / R, 0], 1]."""
    return torch.minimum(torch.maximum((ramp + z - x) / ramp, torch.zeros_like(z)), torch.ones_like(z))


def adaptive_attention(
    x: Tensor, positions: list[int], weights: Weights, causal: bool, spans: Tensor, ramp: int
) -> Tensor:
    """Compute self-attention of one sentence with the weights m_z(t - r) exp(s_tr), divided by their sum over r.

    In addition to the paper, keys after the query have the same mask as those at the same distance before it.
    """

    def factor(head: int, t: int, r: int) -> Tensor:
        return soft_mask(spans[head], abs(t - r), ramp)

    return self_attention(x, positions, weights, len(spans), causal, factor=factor)


def penalty(spans: list[Tensor]) -> Tensor:
    """Return 1 / M sum_i z_i for the spans [M] of the M heads of each layer, without the factor lambda."""
    return torch.stack([z / len(layer) for layer in spans for z in layer]).sum()
