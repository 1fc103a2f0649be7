"""Attention within a window and to a few far keys, in time and memory that grow linearly with the length."""

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
# query positions of each block -> positions of further keys for them, or None if there are none:
# [rows or 1, blocks, size] -> [rows or 1, blocks, far]
Far = Callable[[Tensor], Tensor | None]


def pays(length: int, reach: int, far: Far = lambda i: None, first: int = 0) -> bool:
    """Return whether `windowed_attention` is faster than attention to all keys with a mask.

    The arguments are those of `windowed_attention`.
    """
    if length < max(LONG, 8 * reach, 8 * first):
        return False
    wanted = far(torch.arange(_block(reach)).view(1, 1, -1))
    return wanted is None or length >= 4 * wanted.size(2)


def windowed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    allows: Allows,
    *,
    reach: int,
    far: Far = lambda i: None,
    first: int = 0,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V over the keys that `allows` accepts: [rows, heads, length, head_dim].

    query, key and value are [rows, heads, length, head_dim] at increasing positions [rows or 1, length], which have no
    gaps if there are far keys. mask [rows, length] is False at padding, whose contexts are finite but of no use.
    `causal` hides later keys.

    `allows` always accepts a query's own key. It may accept keys more than `reach` positions away in two cases only: if
    `far` names them, or if the query is one of the first, at the positions 0, ..., `first` - 1. If causal, `far` has to
    name these first positions for every block of queries.

    The queries are divided into blocks. Each block is compared with its own keys, with `reach` keys on either side, or
    only before it if causal, and with the far ones. The first queries are compared with all keys.
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
    more = positions[:, -1:] + torch.arange(1, rest + 1, device=positions.device)
    i = torch.cat((positions, more), dim=1).unfold(1, size, size).unsqueeze(3)
    is_query = pad(real, (0, rest)).unfold(1, size, size).unsqueeze(3)
    j, is_key = (pad(each, (reach, rest + after)).unfold(1, span, size).unsqueeze(2) for each in (positions, real))
    if (wanted := far(i[..., 0])) is not None:
        # far keys after those around the block, without those that are there already
        index, is_far = _look_up(wanted, positions, real)
        start = size * torch.arange(blocks, device=index.device).unsqueeze(1)
        is_far = is_far & ((index < start - reach) | (index >= start + size + after))
        keys, values = (torch.cat((near, _at(index, each)), dim=2) for near, each in ((keys, key), (values, value)))
        at_far = positions.expand(len(index), -1).gather(1, index.flatten(1)).view_as(index)
        j, is_key = _joined(j, at_far, rows), _joined(is_key, is_far, rows)
    allowed = allows(i, j) & is_key
    if causal:
        allowed = allowed & (j <= i)
    allowed = allowed | ~is_query  # a query that is padding could see nothing, and its context would be undefined
    bias = _bias(allowed).expand(rows, -1, -1, -1).flatten(0, 1).unsqueeze(1)
    # contexts
    context = attention(queries, keys, values, bias=bias, dropout=dropout, training=training)
    joined: Tensor = context.unflatten(0, (rows, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :length]
    if causal or not first:  # if causal, the first queries see the first keys only, which are near or far ones
        return joined
    # the first queries and all keys
    allowed = allows(positions[:, None, :first, None], positions[:, None, None]) & real[:, None, None]
    bias = _bias(allowed | ~real[:, None, :first, None])
    by_first = attention(query[:, :, :first], key, value, bias=bias, dropout=dropout, training=training)
    return torch.cat((by_first, joined[:, :, first:]), dim=2)


def _look_up(wanted: Tensor, positions: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of keys [rows, blocks, far], and which of them are to be used.

    wanted [rows or 1, blocks, far] are positions in any order, perhaps more than once or of no key.
    """
    rows, length = max(positions.size(0), real.size(0), wanted.size(0)), positions.size(1)
    positions, real = positions.expand(rows, -1).contiguous(), real.expand(rows, -1)
    wanted = wanted.expand(rows, -1, -1).sort().values
    found = torch.searchsorted(positions, wanted.flatten(1)).clamp(max=length - 1)
    exists = (positions.gather(1, found) == wanted.flatten(1)) & real.gather(1, found)
    again = pad(wanted[..., 1:] == wanted[..., :-1], (1, 0))
    return found.view_as(wanted), exists.view_as(wanted) & ~again


def _joined(near: Tensor, far: Tensor, rows: int) -> Tensor:
    """Concatenate a property of near keys [rows or 1, blocks, 1, near] with that of far ones [rows or 1, blocks, far].

    The result is [rows, blocks, 1, near + far].
    """
    return torch.cat([each.expand(rows, -1, -1, -1) for each in (near, far.unsqueeze(2))], dim=3)


def _at(index: Tensor, x: Tensor) -> Tensor:
    """Return the elements of x [rows, heads, length, head_dim] at an index [rows, blocks, far], block by block.

    They are [rows * blocks, heads, far, head_dim].
    """
    chosen = index.expand(x.size(0), -1, -1).flatten(1)[:, None, :, None].expand(-1, x.size(1), -1, x.size(3))
    found: Tensor = x.gather(2, chosen).unflatten(2, index.shape[1:])
    return found.transpose(1, 2).flatten(0, 1)


def _bias(allowed: Tensor) -> Tensor:
    """Convert a bool tensor (True = may attend) to a bias of the same shape."""
    return torch.where(allowed, 0.0, -math.inf)


def _block(reach: int) -> int:
    """Return the number of queries in a block."""
    return max(SMALLEST_BLOCK, reach)


def _blocks(x: Tensor, size: int, step: int) -> Tensor:
    """Cut x [rows, heads, length, head_dim] into overlapping blocks: [rows * blocks, heads, size, head_dim]."""
    return x.unfold(2, size, step).permute(0, 2, 1, 4, 3).flatten(0, 1)
