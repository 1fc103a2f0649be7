"""The average attention network, from Zhang, Xiong and Su 2018."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ffn(x: Tensor, w_1: Tensor, b_1: Tensor, w_2: Tensor, b_2: Tensor) -> Tensor:
    """Return the output [dim] of the position-wise feed-forward network of Vaswani et al. 2017 for a vector x [dim]."""
    hidden = torch.stack([sum(w_1[k] * x) + b_1[k] for k in range(len(b_1))])
    hidden = torch.stack([h if h > 0 else 0 * h for h in hidden])
    return torch.stack([sum(w_2[k] * hidden) + b_2[k] for k in range(len(b_2))])


def average_attention(y: Tensor, w: Tensor, b: Tensor, network: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return the outputs [length, dim] for inputs y [length, dim] of one sentence, and the gates i and f [2, ...]."""
    length, dim = y.shape
    outputs, gates = [], []
    for j in range(length):
        g = network(sum(y[k] for k in range(j + 1)) / (j + 1))  # the average layer
        both = torch.cat((y[j], g))
        gate = torch.stack([1 / (1 + torch.exp(-(sum(w[k] * both) + b[k]))) for k in range(2 * dim)])
        i, f = gate[:dim], gate[dim:]
        outputs.append(i * y[j] + f * g)  # the gating layer
        gates.append(torch.stack((i, f)))
    return torch.stack(outputs), torch.stack(gates, dim=1)
