"""Correia et al. 2019, "Adaptively Sparse Transformers", for the scores of one query and the alpha of one head."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entmax(z: Tensor, alpha: Tensor) -> Tensor:
    """Return the weights of scores z [d] for 1 < alpha < 2, with the gradients of z and alpha that the paper states."""
    scores, a = z.tolist(), alpha.item()
    p = _bisection(scores, a)
    # d p_i / d z_j = s_i [i = j] - s_i s_j / sum_k s_k with s_i = p_i^{2 - alpha} where p_i > 0, else 0
    s = [p_i ** (2 - a) if p_i > 0 else 0.0 for p_i in p]
    by_z = [[(s_i if i == j else 0.0) - s_i * s_j / math.fsum(s) for j, s_j in enumerate(s)] for i, s_i in enumerate(s)]
    # d p_i / d alpha = (p_i - p~_i) / (alpha - 1)^2 + (h_i - p~_i sum_j h_j) / (alpha - 1)
    # with p~_i = s_i / sum_j s_j and h_i = -p_i log p_i
    tilde = [s_i / math.fsum(s) for s_i in s]
    h = [-p_i * math.log(p_i) if p_i > 0 else 0.0 for p_i in p]
    by_alpha = [(p[i] - tilde[i]) / (a - 1) ** 2 + (h[i] - tilde[i] * math.fsum(h)) / (a - 1) for i in range(len(p))]
    # a value of zero with these gradients is added to p
    gradients = torch.tensor(by_z, dtype=z.dtype) @ (z - z.detach())
    gradients = gradients + torch.tensor(by_alpha, dtype=z.dtype) * (alpha - alpha.detach())
    return torch.tensor(p, dtype=z.dtype) + gradients


def _bisection(z: list[float], alpha: float) -> list[float]:
    """Return p_i = [(alpha - 1) z_i - tau]_+^{1 / (alpha - 1)} for the tau at which they sum to one."""
    x = [(alpha - 1) * z_i for z_i in z]
    low, high = max(x) - 1, max(x) - len(x) ** (1 - alpha)
    for _ in range(100):
        tau = (low + high) / 2
        p = [max(x_i - tau, 0.0) ** (1 / (alpha - 1)) for x_i in x]
        low, high = (low, tau) if math.fsum(p) < 1 else (tau, high)
    return p
