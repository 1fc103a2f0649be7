"""Su et al. 2021, RoFormer: eqs. 15, 16 and 34."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.attention.papers.self_attention import Weights, self_attention


def rotation(m: int, d: int, base: float) -> Tensor:
    """Return R^d_(Theta, m) of eq. 15, where theta_i = base^(-2 (i - 1) / d) for i = 1 ... d / 2."""
    matrix = torch.zeros(d, d, dtype=torch.float64)
    for i in range(1, d // 2 + 1):
        theta = base ** (-2 * (i - 1) / d)
        first, second = 2 * i - 2, 2 * i - 1
        matrix[first, first] = math.cos(m * theta)
        matrix[first, second] = -math.sin(m * theta)
        matrix[second, first] = math.sin(m * theta)
        matrix[second, second] = math.cos(m * theta)
    return matrix


def rotated(x: Tensor, m: int, base: float) -> Tensor:
    """Return the right side of eq. 34: R^d_(Theta, m) x, computed by products of components."""
    d = len(x)
    terms = []
    for i in range(1, d + 1):
        theta = base ** (-2 * ((i + 1) // 2 - 1) / d)
        other = -x[i] if i % 2 == 1 else x[i - 2]  # -x_2, x_1, -x_4, x_3, ...
        terms.append(x[i - 1] * math.cos(m * theta) + other * math.sin(m * theta))
    return torch.stack(terms)


def rotary_attention(
    x: Tensor, positions: list[int], weights: Weights, num_heads: int, causal: bool, base: float
) -> Tensor:
    """Compute self-attention of one sentence with the scores of eq. 16."""

    def score(head: int, m: int, n: int, q: Tensor, k: Tensor) -> Tensor:
        turned_query, turned_key = rotation(m, len(q), base) @ q, rotation(n, len(k), base) @ k
        return (turned_query * turned_key).sum() / math.sqrt(len(q))

    return self_attention(x, positions, weights, num_heads, causal, score)
