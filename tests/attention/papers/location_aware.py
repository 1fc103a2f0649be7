"""Chorowski et al. 2015, "Attention-Based Models for Speech Recognition", section 2.2, for one sentence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def attend(queries: Tensor, h: Tensor, w: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return glimpses g_i and weights alpha_ij for queries s_{i-1} [I, q] and states h_j [L, n].

    F [k, r] has filters of odd width r that are centred at each position. Weights outside the sentence are zero, and
    alpha_0 = (1, 0, 0, ...).
    """
    L, (k, r) = len(h), w["F"].shape
    positions = range(L)
    alpha = [torch.ones((), dtype=h.dtype)] + [torch.zeros((), dtype=h.dtype)] * (L - 1)
    glimpses, weights = [], []
    for s in queries:
        e = []
        for j in positions:
            # f_i = F * alpha_{i-1}
            seen = [(m, j + m - r // 2) for m in range(r) if 0 <= j + m - r // 2 < L]
            f = torch.stack([sum(w["F"][number, m] * alpha[at] for m, at in seen) for number in range(k)])
            # e_ij = w . tanh(W s_{i-1} + V h_j + U f_ij + b)
            e.append(w["w"] @ torch.tanh(w["W"] @ s + w["V"] @ h[j] + w["U"] @ f + w["b"]))
        # alpha_ij = exp(e_ij) / sum_j exp(e_ij), g_i = sum_j alpha_ij h_j
        alpha = [torch.exp(e[j]) / sum(torch.exp(e[other]) for other in positions) for j in positions]
        glimpses.append(sum(alpha[j] * h[j] for j in positions))
        weights.append(torch.stack(alpha))
    return torch.stack(glimpses), torch.stack(weights)
