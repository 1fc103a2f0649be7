"""The weights of scaled dot-product attention, written out (Vaswani et al. 2017, section 3.2.1)."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from nmt.attention.normalisers import softmax


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
