"""Scores between one decoder state and the source states of one sentence, component by component."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def scaled_dot(h: Tensor, states: Tensor) -> list[Tensor]:
    """Return q . k / sqrt(d_k) for the query h and each key (Vaswani et al. 2017, eq. 1)."""
    d_k = len(h)
    return [sum(h[i] * state[i] for i in range(d_k)) / math.sqrt(d_k) for state in states]


def location(h: Tensor, states: Tensor, W_a: Tensor) -> list[Tensor]:
    """Return the scores in softmax(W_a h_t) (Luong et al. 2015, eq. 8) for the positions that the sentence has.

    Words beyond the rows of W_a are ignored.
    """
    positions = range(min(len(states), len(W_a)))
    return [sum(W_a[s, i] * h[i] for i in range(len(h))) for s in positions]


def weights(scores: list[Tensor]) -> Tensor:
    """Return a_t(s) = exp(score_s) / sum_s' exp(score_s') (Luong et al. 2015, eq. 7)."""
    return torch.stack([torch.exp(e) / sum(torch.exp(other) for other in scores) for e in scores])


def context(a: Tensor, states: Tensor) -> Tensor:
    """Return the average of the source states with the weights a."""
    return sum((a[s] * states[s] for s in range(len(a))), torch.zeros_like(states[0]))
