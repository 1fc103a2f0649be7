"""Scores between one decoder state and the source states of one sentence, component by component."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def scaled_dot(h: Tensor, states: Tensor) -> list[Tensor]:
    """Return q . k / sqrt(d_k) for the query h and each key (Vaswani et al. 2017, eq. 1)."""
    d_k = len(h)
    return [sum(h[i] * state[i] for i in range(d_k)) / math.sqrt(d_k) for state in states]


def weights(scores: list[Tensor]) -> Tensor:
    """Return a_t(s) = exp(score_s) / sum_s' exp(score_s') (Luong et al. 2015, eq. 7)."""
    return torch.stack([torch.exp(e) / sum(torch.exp(other) for other in scores) for e in scores])


def context(a: Tensor, states: Tensor) -> Tensor:
    """Return the average of the source states with the weights a."""
    return sum((a[s] * states[s] for s in range(len(states))), torch.zeros_like(states[0]))
