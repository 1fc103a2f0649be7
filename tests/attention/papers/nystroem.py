"""The attention of Nystroemformer, from Xiong et al. 2021, algorithm 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.attention.papers.self_attention import Weights


def softmax(rows: list[Tensor], columns: list[Tensor]) -> Tensor:
    """Return softmax(q k / sqrt(d)) for all q in rows and k in columns, each row by itself."""
    lines = []
    for q in rows:
        terms = [((q * k).sum() / math.sqrt(len(q))).exp() for k in columns]
        lines.append(torch.stack([term / sum(terms) for term in terms]))
    return torch.stack(lines)


def means(x: list[Tensor], m: int) -> list[Tensor]:
    """Return the means of m segments; where m does not divide n, a segment ends before position n (j + 1) / m."""
    n = len(x)
    segments = [[x[i] for i in range(n) if j * n <= i * m < (j + 1) * n] for j in range(m)]
    return [sum(segment[1:], start=segment[0]) / len(segment) for segment in segments]


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    size = range(len(a))
    norm_1 = max(sum(abs(a[i, j]) for i in size) for j in size)
    norm_inf = max(sum(abs(a[i, j]) for j in size) for i in size)
    z, one = a.T / (norm_1 * norm_inf), torch.eye(len(a), dtype=a.dtype)
    for _ in range(iterations):
        z = 0.25 * z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z)))
    return z


def nystroem(
    x: Tensor, weights: Weights, num_heads: int, landmarks: int, iterations: int, skip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the outputs [n, dim] of one sentence x [n, dim], and the matrices [heads, n, n] that multiply values.

    skip [heads, 2 * radius + 1] has the filters of the convolution of the values.
    """
    n, dim = x.shape
    heads, matrices = [], []
    for head in range(num_heads):
        rows = slice(head * dim // num_heads, (head + 1) * dim // num_heads)
        q = [weights.query[rows] @ x_i + weights.query_bias[rows] for x_i in x]
        k = [weights.key[rows] @ x_i + weights.key_bias[rows] for x_i in x]
        v = torch.stack([weights.value[rows] @ x_i + weights.value_bias[rows] for x_i in x])
        m = min(n, landmarks)
        q_m, k_m = means(q, m), means(k, m)
        matrix = softmax(q, k_m) @ pseudo_inverse(softmax(q_m, k_m), iterations) @ softmax(q_m, k)
        if skip is not None:
            radius = skip.size(1) // 2
            matrix = matrix + torch.stack([
                torch.stack([
                    skip[head, j - i + radius] if abs(j - i) <= radius else torch.zeros((), dtype=x.dtype)
                    for j in range(n)
                ])
                for i in range(n)
            ])  # fmt: skip
        matrices.append(matrix)
        heads.append(matrix @ v)
    outputs = [weights.output @ torch.cat([head[i] for head in heads]) + weights.output_bias for i in range(n)]
    return torch.stack(outputs), torch.stack(matrices)
