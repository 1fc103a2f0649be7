"""Exact marginal likelihood of one sentence pair (Deng et al. 2018, section 2), by enumeration of alignments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Score = Callable[[Tensor, Tensor], Tensor]  # (h_t, state_j) -> e_tj


def general(w: Weights) -> Score:
    """Return the score h_t . W_a h_s (Luong et al. 2015, section 3.1)."""
    return lambda h, state: h @ w["W_a"] @ state


def concat(w: Weights) -> Score:
    """Return the score v . tanh(W_a [h_t; h_s]) (Luong et al. 2015, section 3.1), with a bias in addition."""
    return lambda h, state: w["v"] @ torch.tanh(w["W_a"] @ torch.cat((h, state)) + w["b"])


def probabilities(h: Tensor, states: Tensor, w: Weights, score: Score) -> tuple[Tensor, Tensor]:
    """Return p(y_t = y) = sum_j alpha_tj p(y | h_t, state_j) [T, vocab] and alpha [T, J], for h [T, n], states [J, n].

    p(y | h_t, state_j) is the softmax of W_s tanh(W_c [state_j; h_t]) + b_s (Luong et al. 2015, eqs. 5-6).
    """
    positions = range(len(states))
    of_steps, weights = [], []
    for t in range(len(h)):
        e = [score(h[t], states[j]) for j in positions]
        alpha = [torch.exp(e[j]) / sum(torch.exp(e[k]) for k in positions) for j in positions]
        total = torch.zeros_like(w["b_s"])
        for j in positions:
            logits = w["W_s"] @ torch.tanh(w["W_c"] @ torch.cat((states[j], h[t]))) + w["b_s"]
            total = total + alpha[j] * torch.exp(logits) / torch.exp(logits).sum()
        of_steps.append(total)
        weights.append(torch.stack(alpha))
    return torch.stack(of_steps), torch.stack(weights)


def likelihood(y: list[int], h: Tensor, states: Tensor, w: Weights, score: Score) -> Tensor:
    """Return p(y) = sum_a prod_t p(a_t) p(y_t | h_t, state_{a_t}) over all sequences a of source positions."""
    total = torch.zeros((), dtype=h.dtype)
    for a in product(range(len(states)), repeat=len(y)):
        together = torch.ones((), dtype=h.dtype)
        for t, j in enumerate(a):
            e = torch.stack([score(h[t], state) for state in states])
            logits = w["W_s"] @ torch.tanh(w["W_c"] @ torch.cat((states[j], h[t]))) + w["b_s"]
            together = together * torch.softmax(e, 0)[j] * torch.softmax(logits, 0)[y[t]]
        total = total + together
    return total
