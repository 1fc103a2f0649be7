"""Shaw et al. 2018, Self-Attention with Relative Position Representations: eqs. 3 and 4, and section 3.2."""

from __future__ import annotations

import math

from torch import Tensor

from tests.attention.papers.self_attention import Weights, plain_value, self_attention


def clip(x: int, k: int) -> int:
    return max(-k, min(k, x))


def relative_attention(
    x: Tensor,
    positions: list[int],
    weights: Weights,
    num_heads: int,
    causal: bool,
    w_k: dict[int, Tensor],
    w_v: dict[int, Tensor] | None,
) -> Tensor:
    """Compute self-attention of one sentence; w^K and w^V (None: not used) map -k, ..., k to vectors [head_dim]."""
    k = max(w_k)

    def score(head: int, i: int, j: int, query: Tensor, key: Tensor) -> Tensor:
        return (query * (key + w_k[clip(j - i, k)])).sum() / math.sqrt(len(query))  # eq. 4

    def value(i: int, j: int, v: Tensor) -> Tensor:
        return plain_value(i, j, v) if w_v is None else v + w_v[clip(j - i, k)]  # eq. 3

    return self_attention(x, positions, weights, num_heads, causal, score, value)
