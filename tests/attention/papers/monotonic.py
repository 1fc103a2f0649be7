"""Monotonic attention, Raffel et al. 2017, "Online and Linear-Time Attention by Enforcing Monotonic Alignments"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Energy = Callable[[Tensor, Tensor], Tensor]  # (s_{i-1}, h_j) -> e_ij


def additive(w: Weights) -> Energy:
    """Return the energy g v / ||v|| . tanh(W s_{i-1} + V h_j + b) + r (the modified energy)."""

    def energy(s: Tensor, h: Tensor) -> Tensor:
        norm = torch.sqrt(sum(each * each for each in w["v"]))
        return w["g"] * (w["v"] / norm) @ torch.tanh(w["W"] @ s + w["V"] @ h + w["b"]) + w["r"]

    return energy


def context(alpha: list[Tensor], h: Tensor) -> Tensor:
    """Return c_i = sum_j alpha_ij h_j (eq. 3)."""
    return sum((alpha[j] * h[j] for j in range(len(h))), torch.zeros_like(h[0]))


def expectation(queries: Tensor, h: Tensor, energy: Energy) -> tuple[Tensor, Tensor]:
    """Return the contexts and alpha_ij by the recurrence of eqs. 11-14."""
    J = len(h)
    alpha = [torch.ones((), dtype=h.dtype) if j == 0 else torch.zeros((), dtype=h.dtype) for j in range(J)]  # alpha_0
    contexts, weights = [], []
    for s in queries:
        p = [1 / (1 + torch.exp(-energy(s, h[j]))) for j in range(J)]
        q: list[Tensor] = []
        for j in range(J):
            before = (1 - p[j - 1]) * q[j - 1] if j > 0 else 0.0
            q.append(before + alpha[j])  # eq. 13
        alpha = [p[j] * q[j] for j in range(J)]  # eq. 14
        contexts.append(context(alpha, h))
        weights.append(torch.stack(alpha))
    return torch.stack(contexts), torch.stack(weights)


def stops(p: list[list[float]]) -> list[int | None]:
    """Return where attention stops at each target position if z_ij = 1 where p_ij >= 1/2 (section 2.2); None: nowhere.

    Once it has run past the last word, it stays there: no probability comes back in the expectation, either.
    """
    found: list[int | None] = []
    last: int | None = 0
    for row in p:
        last = None if last is None else next((j for j in range(last, len(row)) if row[j] >= 0.5), None)
        found.append(last)
    return found


def by_enumeration(p: list[list[float]]) -> list[list[float]]:
    """Return alpha_ij as the probability, over all decisions z_ij ~ Bernoulli(p_ij), that attention stops at j."""
    T, J = len(p), len(p[0])
    alpha = [[0.0] * J for _ in range(T)]
    for flat in product([0.0, 1.0], repeat=T * J):
        z = [list(flat[i * J : (i + 1) * J]) for i in range(T)]
        probability = 1.0
        for i in range(T):
            for j in range(J):
                probability *= p[i][j] if z[i][j] else 1 - p[i][j]
        for i, j in enumerate(stops(z)):
            if j is not None:
                alpha[i][j] += probability
    return alpha


def hard(queries: Tensor, h: Tensor, energy: Energy) -> tuple[Tensor, Tensor]:
    """Return the contexts, zeros where attention stops nowhere, and the weights in {0, 1}."""
    p = [[torch.sigmoid(energy(s, each)).item() for each in h] for s in queries]
    weights = torch.zeros(len(queries), len(h), dtype=h.dtype)
    for i, j in enumerate(stops(p)):
        if j is not None:
            weights[i, j] = 1.0
    return torch.stack([context(list(row), h) for row in weights]), weights
