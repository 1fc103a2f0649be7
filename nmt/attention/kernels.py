"""Attention kernels: from queries, keys and values, split into heads, to contexts."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1): [batch, heads, queries, head_dim] each.

    mask is bool and broadcasts to [batch, heads, queries, keys], True = may attend; causal lets query i see keys 0..i.
    """
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
    )


def full_attention_weights(query: Tensor, key: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """The weights [batch, heads, queries, keys] that `full_attention` uses and does not show."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores.float(), dim=-1)
