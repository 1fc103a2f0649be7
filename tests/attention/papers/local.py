"""Luong et al. 2015, section 3.2 (local attention), for one sentence, position by position.

Positions are counted from 0. Where the paper takes the words of a window around the aligned position p_t, words outside
the sentence are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Score = Callable[[Tensor, Tensor], Tensor]  # (h_t, h_s) -> score


def general(w: Weights) -> Score:
    """Return the score h_t . W_a h_s (section 3.1)."""
    return lambda h, state: h @ w["W_a"] @ state


def align(h: Tensor, states: Tensor, score: Score, p: float, D: int) -> dict[int, Tensor]:
    """Return align(h_t, h_s) (eq. 7) for every position s in the window [p_t - D, p_t + D]."""
    window = [s for s in range(len(states)) if p - D <= s <= p + D]
    total = sum(torch.exp(score(h, states[s])) for s in window)
    return {s: torch.exp(score(h, states[s])) / total for s in window}


def context(weights: dict[int, Tensor], states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the context, the weighted sum of states in the window, and the weights of all positions."""
    c = sum((a * states[s] for s, a in weights.items()), torch.zeros_like(states[0]))
    zero = states.new_zeros(())
    return c, torch.stack([weights.get(s, zero) for s in range(len(states))])


def monotonic(h: Tensor, states: Tensor, score: Score, D: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Return contexts and weights of local-m with p_t = ratio * t, which stays at the last word once it is there."""
    steps = []
    for t in range(len(h)):
        p = min(ratio * t, len(states) - 1)
        steps.append(context(align(h[t], states, score, p, D), states))
    contexts, weights = zip(*steps, strict=True)
    return torch.stack(contexts), torch.stack(weights)


def predictive(h: Tensor, states: Tensor, score: Score, D: int, w: Weights) -> tuple[Tensor, Tensor]:
    """Return contexts and weights of local-p."""
    sigma = D / 2
    steps = []
    for t in range(len(h)):
        # eq. 9: p_t = S sigmoid(v_p . tanh(W_p h_t))
        p = len(states) / (1 + torch.exp(-(w["v_p"] @ torch.tanh(w["W_p"] @ h[t]))))
        # eq. 10: a_t(s) = align(h_t, h_s) exp(-(s - p_t)^2 / (2 sigma^2))
        weights = align(h[t], states, score, p.item(), D)
        a = {s: weight * math.e ** (-((s - p) ** 2) / (2 * sigma**2)) for s, weight in weights.items()}
        steps.append(context(a, states))
    contexts, weights = zip(*steps, strict=True)
    return torch.stack(contexts), torch.stack(weights)
