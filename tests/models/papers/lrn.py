"""The lightweight recurrent network of Zhang and Sennrich 2019, for one sentence, one step and one unit at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def lrn(x: Tensor, h_0: Tensor, w: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return h_1 ... h_n, and h_n once more, for x_1 ... x_n [n, input] and h_0 [d]; the activation is tanh."""
    units, inputs = range(len(h_0)), range(x.size(1))
    outputs = []
    previous = [h_0[j] for j in units]
    for t in range(len(x)):
        h = []
        for j in units:
            q, k, v = (
                torch.stack([w[matrix][j, i] * x[t, i] for i in inputs]).sum() for matrix in ("W_q", "W_k", "W_v")
            )
            i_tj = 1 / (1 + torch.exp(-(k + previous[j])))
            f_tj = 1 / (1 + torch.exp(-(q - previous[j])))
            a = i_tj * v + f_tj * previous[j]
            h.append((torch.exp(a) - torch.exp(-a)) / (torch.exp(a) + torch.exp(-a)))
        outputs.append(torch.stack(h))
        previous = h
    return torch.stack(outputs), torch.stack(previous)
