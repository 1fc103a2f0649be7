"""Attention kernels: from queries, keys and values, split into heads, to contexts.

What a query may not see is said by a bias that is added to its scores: 0 where it may look, minus infinity elsewhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# A step of a search has one query a sentence, or a beam of them. The fused kernel is made for many: on a CPU two
# products take less time for these, where there are more than a few sentences.
_FEW_QUERIES = 8
_FEW_SENTENCES = 8


def bias_of(mask: Tensor) -> Tensor:
    """The bias, of the same shape, that a bool mask stands for: True = may attend. Made once for all layers."""
    return torch.where(mask, 0.0, -math.inf)


def by_products(x: Tensor) -> bool:
    """Whether few queries to what [batch, ...] says of each sentence go by products: they want key.mT contiguous."""
    return x.size(0) > _FEW_SENTENCES and x.is_cpu


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1): [batch, heads, queries, head_dim] each.

    bias broadcasts to [batch, heads, queries, keys]; causal lets query i see keys 0..i.
    """
    if query.size(2) <= _FEW_QUERIES and by_products(query) and not causal and not dropout:
        return full_attention_weights(query, key, bias=bias).to(value.dtype) @ value
    key = key if key.stride(-1) == 1 else key.contiguous()
    bias = bias if bias is None else bias.to(query.dtype)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=causal, dropout_p=dropout
    )


def full_attention_weights(query: Tensor, key: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
    """The weights [batch, heads, queries, keys] that `full_attention` uses and does not always show."""
    scores = (query @ key.mT).mul_(1 / math.sqrt(query.size(3)))
    if bias is not None:
        scores.add_(bias)
    if causal:
        scores.masked_fill_(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -math.inf)
    return torch.softmax(scores.float(), dim=-1)
