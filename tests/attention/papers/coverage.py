"""Tu et al. 2016, "Modeling Coverage for Neural Machine Translation", for one sentence, position by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Update = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (C_{i-1,j}, alpha_ij, h_j, s_{i-1}) -> C_ij


def attend(queries: Tensor, h: Tensor, w: Weights, update: Update, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return contexts c_i, weights alpha_ij and the last coverage C_j for queries s_{i-1} [I, q] and states h_j [J, n].

    The projection of the states has a bias b, which the paper leaves out.
    """
    positions = range(len(h))
    C = [torch.zeros(dim, dtype=h.dtype) for _ in positions]
    contexts, weights = [], []
    for s in queries:
        # e_ij = v . tanh(W s_{i-1} + U h_j + V C_{i-1,j})
        e = [w["v"] @ torch.tanh(w["W"] @ s + w["U"] @ h[j] + w["b"] + w["V"] @ C[j]) for j in positions]
        # alpha_ij = exp(e_ij) / sum_k exp(e_ik), c_i = sum_j alpha_ij h_j
        alpha = [torch.exp(e[j]) / sum(torch.exp(e[k]) for k in positions) for j in positions]
        contexts.append(sum(alpha[j] * h[j] for j in positions))
        weights.append(torch.stack(alpha))
        C = [update(C[j], alpha[j], h[j], s) for j in positions]
    return torch.stack(contexts), torch.stack(weights), torch.stack(C)


def linguistic(w: Weights, most: float) -> Update:
    """Return the update C_ij = C_{i-1,j} + alpha_ij / Phi_j with Phi_j = N sigmoid(U_f h_j)."""

    def update(c: Tensor, alpha: Tensor, h: Tensor, s: Tensor) -> Tensor:
        fertility = most * torch.sigmoid(w["U_f"] @ h)
        return c + alpha / fertility

    return update


def neural(w: Weights) -> Update:
    """Return the update C_ij = f(C_{i-1,j}, alpha_ij, h_j, s_{i-1}), where f is the gated unit of Cho et al. 2014."""

    def update(c: Tensor, alpha: Tensor, h: Tensor, s: Tensor) -> Tensor:
        z = torch.sigmoid(w["W_z"] @ torch.cat((alpha.view(1), h, s)) + w["b_z"] + w["U_z"] @ c)
        r = torch.sigmoid(w["W_r"] @ torch.cat((alpha.view(1), h, s)) + w["b_r"] + w["U_r"] @ c)
        candidate = torch.tanh(w["W_c"] @ torch.cat((alpha.view(1), h, s)) + w["b_c"] + w["U_c"] @ (r * c))
        return (1 - z) * c + z * candidate

    return update
