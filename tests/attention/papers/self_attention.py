"""Multi-head self-attention (Vaswani et al. 2017, section 3.2) in plain loops, for papers that change its terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """The matrices W^Q, W^K, W^V and W^O with their biases; a projection of x is W x + b."""

    query: Tensor  # [dim, dim]
    key: Tensor
    value: Tensor
    output: Tensor
    query_bias: Tensor  # [dim]
    key_bias: Tensor
    value_bias: Tensor
    output_bias: Tensor


# (head, query position, key position, query [head_dim], key [head_dim]) -> scaled score e_ij
ScoreOf = Callable[[int, int, int, Tensor, Tensor], Tensor]
# (query position, key position, value [head_dim]) -> the vector that alpha_ij multiplies
ValueOf = Callable[[int, int, Tensor], Tensor]

# (head, query position, key position) -> a factor of exp(e_ij)
FactorOf = Callable[[int, int, int], Tensor | float]
# (query position, key position, sentence length) -> whether the query sees the key
SeesOf = Callable[[int, int, int], bool]


def plain_score(head: int, i: int, j: int, q: Tensor, k: Tensor) -> Tensor:
    return (q * k).sum() / math.sqrt(len(q))


def plain_value(i: int, j: int, v: Tensor) -> Tensor:
    return v


def plain_factor(head: int, i: int, j: int) -> float:
    return 1.0


def plain_sight(i: int, j: int, length: int) -> bool:
    return True


def self_attention(
    x: Tensor,
    positions: list[int],
    weights: Weights,
    num_heads: int,
    causal: bool,
    score: ScoreOf = plain_score,
    value: ValueOf = plain_value,
    sees: SeesOf = plain_sight,
    factor: FactorOf = plain_factor,
) -> Tensor:
    """Return the outputs [length, dim] for one sentence x [length, dim] whose words are at the given positions."""
    head_dim = x.size(1) // num_heads
    outputs = []
    for at, i in enumerate(positions):
        heads = []
        for head in range(num_heads):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            q = weights.query[rows] @ x[at] + weights.query_bias[rows]
            seen = [(other, j) for other, j in enumerate(positions) if (j <= i or not causal) and sees(i, j, len(x))]
            e = []
            for other, j in seen:
                k = weights.key[rows] @ x[other] + weights.key_bias[rows]
                e.append(score(head, i, j, q, k))
            terms = [factor(head, i, j) * each.exp() for each, (_, j) in zip(e, seen, strict=True)]
            total = sum(terms)
            z = torch.zeros(head_dim, dtype=x.dtype)
            for term, (other, j) in zip(terms, seen, strict=True):
                v = weights.value[rows] @ x[other] + weights.value_bias[rows]
                z = z + term / total * value(i, j, v)
            heads.append(z)
        outputs.append(weights.output @ torch.cat(heads) + weights.output_bias)
    return torch.stack(outputs)
