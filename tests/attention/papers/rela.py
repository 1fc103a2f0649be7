"""Zhang, Titov and Sennrich 2021, "Sparse Attention with Linear Units" (ReLA-g), for one query."""

from __future__ import annotations

import torch
from torch import Tensor


def weights(z: Tensor) -> Tensor:
    """Return the weights alpha_j = ReLU(z_j) of scores z [J]."""
    return torch.stack([z_j if z_j > 0 else 0 * z_j for z_j in z])


def attend(z: Tensor, values: Tensor, w: Tensor, g: Tensor) -> Tensor:
    """Return LN(c), where c has the contexts sum_j alpha_j v_j of all heads side by side.

    z are the scores [heads, J], values [heads, J, head_dim]. LN(c) = sigmoid(w * c) * c / RMS(c) * g.
    """
    heads, keys, head_dim = values.shape
    alpha = [weights(z[head]) for head in range(heads)]
    c = [
        sum(alpha[head][j] * values[head, j, i] for j in range(keys)) for head in range(heads) for i in range(head_dim)
    ]
    rms = torch.sqrt(sum(c_i**2 for c_i in c) / len(c))
    return torch.stack([c_i / rms * g[i] / (1 + torch.exp(-w[i] * c_i)) for i, c_i in enumerate(c)])
