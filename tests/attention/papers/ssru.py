"""The simpler simple recurrent unit, from Kim et al. 2019."""

from __future__ import annotations

import torch
from torch import Tensor


def ssru(x: Tensor, w_f: Tensor, b_f: Tensor, w: Tensor) -> Tensor:
    """Return o_1 ... o_n for x_1 ... x_n, one sentence [length, dim], one component at a time."""
    length, dim = x.shape
    outputs = []
    previous = [torch.zeros((), dtype=x.dtype) for _ in range(dim)]  # c_0
    for t in range(length):
        c, o = [], []
        for i in range(dim):
            f_ti = 1 / (1 + torch.exp(-(sum(w_f[i, j] * x[t, j] for j in range(dim)) + b_f[i])))
            c_ti = f_ti * previous[i] + (1 - f_ti) * sum(w[i, j] * x[t, j] for j in range(dim))
            c.append(c_ti)
            o.append(c_ti if c_ti > 0 else 0 * c_ti)
        outputs.append(torch.stack(o))
        previous = c
    return torch.stack(outputs)
