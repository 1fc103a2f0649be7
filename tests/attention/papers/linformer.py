"""The attention of Linformer, from Wang et al. 2020, eq. 7."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.attention.papers.self_attention import Weights


def linformer(x: Tensor, weights: Weights, e: list[Tensor], f: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the outputs [n, dim] of one sentence x [n, dim], and P F [heads, n, n].

    e and f have the projections E_i and F_i [k, maximum length] of each head.
    """
    n, dim = x.shape
    head_dim = dim // len(e)
    outputs, matrices = [], [torch.zeros(n, n, dtype=x.dtype) for _ in e]
    for at in range(n):
        heads = []
        for head, (e_i, f_i) in enumerate(zip(e, f, strict=True)):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            k, longest = e_i.shape
            q = weights.query[rows] @ x[at] + weights.query_bias[rows]
            scores, values = [], []
            for c in range(k):
                key, value = torch.zeros(head_dim, dtype=x.dtype), torch.zeros(head_dim, dtype=x.dtype)
                for j in range(min(n, longest)):
                    key = key + e_i[c, j] * (weights.key[rows] @ x[j] + weights.key_bias[rows])
                    value = value + f_i[c, j] * (weights.value[rows] @ x[j] + weights.value_bias[rows])
                scores.append((q * key).sum() / math.sqrt(head_dim))
                values.append(value)
            total = sum(score.exp() for score in scores)
            context = torch.zeros(head_dim, dtype=x.dtype)
            for c in range(k):
                context = context + scores[c].exp() / total * values[c]
                for j in range(min(n, longest)):
                    matrices[head][at, j] += (scores[c].exp() / total * f_i[c, j]).detach()
            heads.append(context)
        outputs.append(weights.output @ torch.cat(heads) + weights.output_bias)
    return torch.stack(outputs), torch.stack(matrices)
