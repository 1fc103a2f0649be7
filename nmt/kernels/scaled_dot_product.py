"""Scaled dot-product attention with torch's fused kernels. `nmt.attention.multihead` writes out the equation."""

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
    [rows, heads, queries, keys]. `causal` lets each query attend to its own position and earlier ones; it needs as many
    queries as keys, and no bias. In training `dropout` is the dropout rate of the weights.

    On a CPU, bf16 inputs are converted to float32 and the result back to bf16: torch's backward pass of attention in
    bf16 is so slow on a CPU that it took a quarter of the time of an update.
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
