"""Transparent attention, from Bapna et al. 2018, over the multi-head attention of Vaswani et al. 2017."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mixed_layers(w: Tensor, h: list[Tensor]) -> list[Tensor]:
    """Return z_1 ... z_M, given the embeddings and encoder layers h_1 ... h_{N+1} [src_len, dim] and w [N + 1, M]."""
    z = []
    for j in range(w.size(1)):
        s_j = [torch.exp(w[i, j]) / sum(torch.exp(w[k, j]) for k in range(len(h))) for i in range(len(h))]
        z.append(sum((s_j[i] * h[i] for i in range(1, len(h))), start=s_j[0] * h[0]))
    return z


def attention(
    x: Tensor,
    z: Tensor,
    num_heads: int,
    query: tuple[Tensor, Tensor],
    key: tuple[Tensor, Tensor],
    value: tuple[Tensor, Tensor],
    output: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Attend from target positions x [tgt_len, dim] to z [src_len, dim]; a projection y = W x + b is given as (W, b).

    Return the outputs [tgt_len, dim] and the weights [heads, tgt_len, src_len].
    """
    d = x.size(1) // num_heads
    heads, all_weights = [], []
    for i in range(num_heads):
        part = slice(i * d, (i + 1) * d)
        q, k, v = (
            inputs @ w[part].T + b[part] for inputs, (w, b) in ((x, query), (z, key), (z, value))
        )  # W_i^Q, W_i^K and W_i^V
        e = torch.exp(q @ k.T / math.sqrt(d))
        weights = e / e.sum(dim=1, keepdim=True)
        heads.append(weights @ v)
        all_weights.append(weights)
    return torch.cat(heads, dim=1) @ output[0].T + output[1], torch.stack(all_weights)
