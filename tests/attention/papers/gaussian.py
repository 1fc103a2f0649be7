"""The soft window of Graves 2013, "Generating Sequences With Recurrent Neural Networks", section 5.1."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def attend(h: Tensor, c: Tensor, w: Mapping[str, Tensor], K: int) -> tuple[Tensor, Tensor]:
    """Return the windows w_t and the weights phi(t, u) for states h_t [T, n] and a sequence c_u [U, m]."""
    U = len(c)
    kappa = [torch.zeros((), dtype=h.dtype) for _ in range(K)]
    windows, weights = [], []
    for t in range(len(h)):
        # eq. 48: (alpha^, beta^, kappa^) = W h_t + b
        hat = w["W_p"] @ h[t] + w["b_p"]
        # eqs. 49-51
        alpha = [torch.exp(hat[k]) for k in range(K)]
        beta = [torch.exp(hat[K + k]) for k in range(K)]
        kappa = [kappa[k] + torch.exp(hat[2 * K + k]) for k in range(K)]
        # eq. 46, for u = 1, ..., U
        phi = [sum(alpha[k] * torch.exp(-beta[k] * (kappa[k] - u) ** 2) for k in range(K)) for u in range(1, U + 1)]
        # eq. 47
        windows.append(sum(phi[u - 1] * c[u - 1] for u in range(1, U + 1)))
        weights.append(torch.stack(phi))
    return torch.stack(windows), torch.stack(weights)
