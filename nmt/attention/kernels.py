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
        weights = full_attention_weights(query, key, mask=mask).to(value.dtype)
        return torch.bmm(weights.flatten(0, 1), value.flatten(0, 1)).view(query.shape)
    key = key if key.stride(-1) == 1 else key.contiguous()
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
    )


def full_attention_weights(query: Tensor, key: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """The weights [batch, heads, queries, keys] that `full_attention` uses and does not always show."""
    hidden = query.new_zeros(1, 1, 1, 1) if mask is None else torch.where(mask, 0.0, -math.inf).to(query.dtype)
    hidden = hidden.expand(*query.shape[:2], -1, key.size(2)).flatten(0, 1)  # [batch * heads, queries or 1, keys]
    # one call adds up, scales and masks; a search makes two of these in every layer at every step
    scores = torch.baddbmm(hidden, query.flatten(0, 1), key.mT.flatten(0, 1), alpha=1 / math.sqrt(query.size(3)))
    return torch.softmax(scores.float(), dim=-1).view(*query.shape[:3], -1)
