"""Functions that mechanisms with heads share (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from nmt.attention.normalisers import softmax


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Split a projection [rows, length, parts * dim] into its parts [rows, heads, length, head_dim]."""
    split: Tensor = x.unflatten(2, (parts, num_heads, -1))  # [rows, length, parts, heads, head_dim]
    return split.permute(2, 0, 3, 1, 4).unbind()


def merge_heads(x: Tensor) -> Tensor:
    """Concatenate the heads: [rows, heads, length, head_dim] -> [rows, length, dim]."""
    return x.transpose(1, 2).flatten(2)


def attention_weights(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    normaliser: Callable[[Tensor, Tensor | None], Tensor] = softmax,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim) + bias) [rows, heads, queries, keys] (Vaswani et al. 2017, eq. 1).

    query is [rows, heads, queries, head_dim], key [rows, heads, keys, head_dim]. Another normaliser can take the place
    of the softmax.
    """
    return normaliser(query @ key.mT / math.sqrt(query.size(-1)), bias)
