"""Scaled dot-product attention by torch's fused kernels; `nmt.attention.multihead` has the equation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Return the contexts softmax(Q K^T / sqrt(head_dim) + bias) V (Vaswani et al. 2017, eq. 1).

    query is [rows, heads, queries, head_dim], key and value [rows, heads, keys, head_dim]; bias broadcasts to
    [rows, heads, queries, keys]. With `causal`, which takes no bias, there are as many queries as keys, and each sees
    its own position and those before it. In training weights are dropped at the rate `dropout`.

    On a CPU bf16 is computed in float32: torch's backward pass in bf16 takes a quarter of an update there.
    """
    dtype = query.dtype
    widened = torch.float32 if query.device.type == "cpu" and dtype == torch.bfloat16 else dtype
    with torch.autocast(query.device.type, enabled=torch.is_autocast_enabled(query.device.type) and widened == dtype):
        context = functional.scaled_dot_product_attention(
            query.to(widened),
            key.to(widened),
            value.to(widened),
            attn_mask=None if bias is None else bias.to(widened),
            is_causal=causal,
            dropout_p=dropout if training else 0.0,
        )
    return context.to(dtype)
