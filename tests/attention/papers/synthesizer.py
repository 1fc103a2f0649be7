"""Synthesizers, from Tay et al. 2021: Y = softmax(B) G(X), with scores B that do not compare pairs of words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# (x_i, i, j, head), counted from 0 -> the score B_ij of that head
Score = Callable[[Tensor, int, int, int], Tensor]


class Weights(NamedTuple):
    """The weights that all synthesizers have."""

    w_v: Tensor  # G
    b_v: Tensor
    w_o: Tensor
    b_o: Tensor


def synthesizer(x: Tensor, w: Weights, score: Score, heads: int, max_length: int, causal: bool) -> Tensor:
    """Return the outputs for one sentence [length, dim]; words from position max_length on are not attended to."""
    length, dim = x.shape
    size = dim // heads
    outputs = []
    for i in range(length):
        y = []
        for head in range(heads):
            js = [j for j in range(length) if j < max_length and (j <= i or not causal)]
            exps = {j: torch.exp(score(x[i], i, j, head)) for j in js}
            total = sum(exps.values())
            for c in range(head * size, (head + 1) * size):
                y.append(sum(exps[j] / total * (w.w_v[c] @ x[j] + w.b_v[c]) for j in js))
        outputs.append(w.w_o @ torch.stack(y) + w.b_o)
    return torch.stack(outputs)


def random_score(r: Tensor) -> Score:
    """Return the scores R [heads, max_length, max_length] of a random synthesizer; later words have the last row."""
    return lambda x, i, j, head: r[head, min(i, r.size(1) - 1), j]


def dense_score(w_1: Tensor, b_1: Tensor, w_2: Tensor, b_2: Tensor) -> Score:
    """Return the scores F(x_i)_j = (W_2 ReLU(W_1 x_i + b_1) + b_2)_j of a dense synthesizer.

    W_1 is [dim, dim], and its rows belong to the heads in turn; W_2 is [heads, max_length, dim / heads].
    """
    size = w_2.size(2)

    def score(x: Tensor, i: int, j: int, head: int) -> Tensor:
        total = b_2[head, j]
        for c in range(size):
            hidden = w_1[head * size + c] @ x + b_1[head * size + c]
            total = total + w_2[head, j, c] * (hidden if hidden > 0 else 0 * hidden)
        return total

    return score
