"""Attention kernels: from queries, keys and values, split into heads, to contexts."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# A step of a search has one query, or a beam of them: on a CPU the fused kernel, made for many, takes longer for these
# than two products do.
_FEW_QUERIES = 8


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1): [batch, heads, queries, head_dim] each.

    mask is bool and broadcasts to [batch, heads, queries, keys], True = may attend; causal lets query i see keys 0..i.
    For few queries keys are read fastest where key.mT is contiguous.
    """
    if query.device.type == "cpu" and query.size(2) <= _FEW_QUERIES and not causal and not dropout:
        return full_attention_weights(query, key, mask=mask).to(value.dtype) @ value
    key = key if key.stride(-1) == 1 else key.contiguous()
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
    )


def full_attention_weights(query: Tensor, key: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """The weights [batch, heads, queries, keys] that `full_attention` uses and does not always show."""
    scores = (query / math.sqrt(query.size(-1))) @ key.transpose(-2, -1)
    if mask is not None:
        scores = torch.where(mask, scores, -math.inf)
    return torch.softmax(scores.float(), dim=-1)
