"""Attention kernels: from queries, keys and values, split into heads, to contexts.

What a query may not see is said by a bias that is added to its scores: 0 where it may look, minus infinity elsewhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def bias_of(mask: Tensor) -> Tensor:
    """Return the bias, of the same shape, that a bool mask stands for: True = may attend. Made once for all layers."""
    return torch.where(mask, 0.0, -math.inf)


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Return the contexts of scaled dot-product attention (Vaswani et al. 2017, eq. 1).

    query is [batch, heads, queries, head_dim], key and value [batch, heads, keys, head_dim]; bias broadcasts to
    [batch, heads, queries, keys]. With causal, queries are at the last positions of the keys, and each sees its own and
    those before.
    """
    queries, keys = query.size(2), key.size(2)
    if causal and (bias is not None or queries != keys):
        if queries > 1:  # a single query, at the last position, sees every key
            ahead = _causal_bias(queries, keys, query.device)
            bias = ahead if bias is None else bias + ahead
        causal = False
    bias = bias if bias is None else bias.to(query.dtype)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=causal, dropout_p=dropout
    )


def full_attention_weights(query: Tensor, key: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
    """Return the weights by which `full_attention` averages values: [batch, heads, queries, keys], in float32."""
    scores = (query @ key.mT).mul_(1 / math.sqrt(query.size(3)))
    if bias is not None:
        scores.add_(bias)
    if causal and query.size(2) > 1:
        scores.add_(_causal_bias(query.size(2), key.size(2), query.device))
    return torch.softmax(scores.float(), dim=-1)


def _causal_bias(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return the bias [queries, keys] of queries that are at the last positions of the keys."""
    return torch.full((queries, keys), -math.inf, device=device).triu(keys - queries + 1)
