"""LSH attention, from Kitaev et al. 2020 (Reformer), section 2, as attention to the union of all rounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def seen_in_round(q: list[Tensor], r: Tensor, chunk: int) -> list[set[int]]:
    """Return P_i for each i: what has the hash of i and is in its chunk, or the one before, after sorting.

    r [head_dim, buckets / 2] is the random matrix of the round.
    """
    n = len(q)
    hashes = [int(torch.cat((q_i @ r, -(q_i @ r))).argmax()) for q_i in q]
    by_hash = sorted(range(n), key=lambda i: (hashes[i], i))
    chunks = [by_hash.index(i) // chunk for i in range(n)]
    return [
        {j for j in range(n) if hashes[i] == hashes[j] and chunks[i] - 1 <= chunks[j] <= chunks[i]} for i in range(n)
    ]


def lsh(x: Tensor, w: Tensor, b: Tensor, w_o: Tensor, b_o: Tensor, r: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Return the outputs [n, dim] and weights [heads, n, n] for one sentence x [n, dim].

    w [2 dim, dim] and b project to queries and to values; r is [heads, head_dim, rounds, buckets / 2].
    """
    n, dim = x.shape
    num_heads, head_dim, rounds, _ = r.shape
    heads, weights = [], torch.zeros(num_heads, n, n, dtype=x.dtype)
    for head in range(num_heads):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        q = [w[:dim][rows] @ x_i + b[:dim][rows] for x_i in x]
        v = [w[dim:][rows] @ x_i + b[dim:][rows] for x_i in x]
        k = [q_j / q_j.square().sum().sqrt() for q_j in q]
        sets = [seen_in_round(q, r[head, :, number], chunk) for number in range(rounds)]
        contexts = []
        for i in range(n):
            others = sorted(set().union(*(each[i] for each in sets)) - {i}) or [i]  # itself only if alone
            terms = [((q[i] * k[j]).sum() / math.sqrt(head_dim)).exp() for j in others]
            context = torch.zeros(head_dim, dtype=x.dtype)
            for term, j in zip(terms, others, strict=True):
                context = context + term / sum(terms) * v[j]
                weights[head, i, j] = (term / sum(terms)).detach()
            contexts.append(context)
        heads.append(contexts)
    outputs = [w_o @ torch.cat([head[i] for head in heads]) + b_o for i in range(n)]
    return torch.stack(outputs), weights
