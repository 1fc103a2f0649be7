"""Attention with shared, normalised and talking heads (Shazeer 2019; Ainslie, Henry, Shazeer et al. 2020-2023)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class HeadWeights(NamedTuple):
    """One matrix and bias for each head of queries, keys and values, and those of the output."""

    query: list[tuple[Tensor, Tensor]]  # of each head
    key: list[tuple[Tensor, Tensor]]  # of each group of heads
    value: list[tuple[Tensor, Tensor]]
    output: tuple[Tensor, Tensor]


class Talking(NamedTuple):
    """P_l and P_w: from each head to each head."""

    scores: Tensor
    weights: Tensor


def attention(
    x: Tensor,
    y: Tensor,
    weights: HeadWeights,
    causal: bool,
    cosine: Tensor | None = None,
    gains: tuple[Tensor, Tensor] | None = None,
    talking: Talking | None = None,
) -> Tensor:
    """Return the outputs for queries from x [n, dim] to keys and values from y [m, dim], both of one sentence.

    `cosine` is the g of Henry et al. 2020; `gains` are those of RMSNorm on queries and keys.
    """
    heads, groups = len(weights.query), len(weights.key)
    outputs = []
    for i in range(len(x)):
        seen = range(i + 1) if causal else range(len(y))
        scores = [
            [score(x[i], y[j], weights, h, h // (heads // groups), cosine, gains) for j in seen] for h in range(heads)
        ]
        if talking is not None:
            scores = [mixture([talking.scores[g, h] for g in range(heads)], scores) for h in range(heads)]
        alpha = []
        for h in range(heads):
            total = sum(torch.exp(each) for each in scores[h])
            alpha.append([torch.exp(each) / total for each in scores[h]])
        if talking is not None:
            alpha = [mixture([talking.weights[g, h] for g in range(heads)], alpha) for h in range(heads)]
        contexts = []
        for h in range(heads):
            matrix, bias = weights.value[h // (heads // groups)]
            contexts.append(sum(alpha[h][j] * (matrix @ y[j] + bias) for j in seen))
        outputs.append(weights.output[0] @ torch.cat(contexts) + weights.output[1])
    return torch.stack(outputs)


def score(
    x: Tensor,
    y: Tensor,
    weights: HeadWeights,
    head: int,
    group: int,
    cosine: Tensor | None,
    gains: tuple[Tensor, Tensor] | None,
) -> Tensor:
    q = weights.query[head][0] @ x + weights.query[head][1]
    k = weights.key[group][0] @ y + weights.key[group][1]
    if cosine is not None:
        return cosine * sum(q[c] * k[c] for c in range(len(q))) / (q.square().sum().sqrt() * k.square().sum().sqrt())
    if gains is not None:
        q = gains[0] * q / (q.square().mean() + 1e-6).sqrt()
        k = gains[1] * k / (k.square().mean() + 1e-6).sqrt()
    return sum(q[c] * k[c] for c in range(len(q))) / math.sqrt(len(q))


def mixture(shares: list[Tensor], rows: list[list[Tensor]]) -> list[Tensor]:
    """Return the sum of rows, each times its share."""
    return [sum(share * row[j] for share, row in zip(shares, rows, strict=True)) for j in range(len(rows[0]))]
