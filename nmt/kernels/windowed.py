"""Attention within a window, in time and memory that grow linearly with the length."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from nmt.kernels.scaled_dot_product import attention

SMALLEST_BLOCK = 32  # queries in a block, at least
LONG = 512  # from this length on, attention in blocks can be faster than attention to all keys with a mask

# (query positions, key positions), which broadcast to each other -> whether the query may attend to the key
Allows = Callable[[Tensor, Tensor], Tensor]


def pays(length: int, reach: int) -> bool:
    """Return whether `windowed_attention` is faster than attention to all keys with a mask."""
    return length >= max(LONG, 8 * reach)


def windowed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    allows: Allows,
    *,
    reach: int,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V over the keys that `allows` accepts: [rows, heads, length, head_dim].

    query, key and value are [rows, heads, length, head_dim] at increasing positions [rows or 1, length]. `allows`
    accepts a query's own key always, and no key that is further than `reach` positions away. mask [rows, length] is
    False at padding, whose contexts are of no use, but finite. `causal` hides later keys.

    The queries are divided into blocks. Each block is compared with its own keys and `reach` keys on either side, or
    only before it if causal.
    """
    rows, length = query.size(0), query.size(2)
    size = _block(reach)
    blocks = math.ceil(length / size)
    rest, after = blocks * size - length, 0 if causal else reach
    span = reach + size + after
    # blocks of queries, and the keys around each: [rows * blocks, heads, size or span, head_dim]
    queries = _blocks(pad(query, (0, 0, 0, rest)), size, size)
    keys, values = (_blocks(pad(each, (0, 0, reach, rest + after)), span, size) for each in (key, value))
    # which keys a query may attend to: [rows or 1, blocks, size, span]
    real = torch.ones_like(positions, dtype=torch.bool) if mask is None else mask
    i, is_query = (pad(each, (0, rest)).unfold(1, size, size).unsqueeze(3) for each in (positions, real))
    j, is_key = (pad(each, (reach, rest + after)).unfold(1, span, size).unsqueeze(2) for each in (positions, real))
    allowed = allows(i, j) & is_key
    if causal:
        allowed = allowed & (j <= i)
    allowed = allowed | ~is_query  # a query that is padding could see nothing, and its context would be undefined
    bias = torch.where(allowed, 0.0, -math.inf).expand(rows, -1, -1, -1).flatten(0, 1).unsqueeze(1)
    # contexts
    context = attention(queries, keys, values, bias=bias, dropout=dropout, training=training)
    joined: Tensor = context.unflatten(0, (rows, blocks)).transpose(1, 2).flatten(2, 3)
    return joined[:, :, :length]


def _block(reach: int) -> int:
    """Return the number of queries in a block."""
    return max(SMALLEST_BLOCK, reach)


def _blocks(x: Tensor, size: int, step: int) -> Tensor:
    """Cut x [rows, heads, length, head_dim] into overlapping blocks: [rows * blocks, heads, size, head_dim]."""
    return x.unfold(2, size, step).permute(0, 2, 1, 4, 3).flatten(0, 1)
