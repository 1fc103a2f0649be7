"""Sums over all positions so far, of which a state of constant size is kept: linear attention, retention.

The sum at position i is sum_{j <= i} exp(a_j - m_i) (q_i . k_j) v_j. Since q_i and exp(-m_i) can be taken out of it,
the matrix s_i = sum_{j <= i} exp(a_j - m_i) k_j v_j^T is all that has to be kept of earlier positions. The levels a and
m are scales that depend on no later position: they let earlier positions decay, or keep numbers within range.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64  # the number of positions whose pairs are computed at once


def running_sums(query: Tensor, key: Tensor, value: Tensor, s: Tensor, a: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums [rows, heads, length, value_dim] at all positions, and the matrix s after the last one.

    query and key are [rows, heads, length, key_dim], value [rows, heads, length, value_dim], a [rows or 1, heads,
    length]. m [rows or 1, heads, 1 + length] begins with the level of the given s [rows, heads, key_dim, value_dim];
    m_i is at least a_j for all j <= i. Positions are computed in chunks: pairs within a chunk as a matrix, and earlier
    positions from s, so that memory and time grow with the length and not with its square.
    """
    sums = []
    # split, because the gradient of each slice would be as long as the whole
    chunks = zip(*(each.split(CHUNK, dim=2) for each in (query, key, value)), strict=True)
    for start, (q, k, v) in zip(range(0, query.size(2), CHUNK), chunks, strict=True):
        a_chunk = a[..., start : start + CHUNK]
        before, m_chunk = m[..., start, None], m[..., start + 1 : start + 1 + CHUNK]
        # sums over earlier chunks and over this one
        earlier = (before - m_chunk).exp().unsqueeze(-1) * (q @ s)
        sums.append(earlier + pairs(q, k, a_chunk, m_chunk) @ v)
        # s including this chunk
        last = m_chunk[..., -1, None]
        scaled = (a_chunk - last).exp().unsqueeze(-1) * k
        s = (before - last).exp().unsqueeze(-1) * s + scaled.mT @ v
    return torch.cat(sums, dim=2), s


def pairs(query: Tensor, key: Tensor, a: Tensor, m: Tensor) -> Tensor:
    """Return exp(a_j - m_i) (q_i . k_j) for j <= i, and 0 for later j: [rows, heads, queries, keys]."""
    scale = (a.unsqueeze(-2) - m.unsqueeze(-1)).clamp(max=0).exp()  # clamped, as later a_j can be above m_i
    return (scale * (query @ key.mT)).tril()
