"""The simple recurrent unit of Lei et al. 2018, for one sentence, one step and one unit at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def sru(x: Tensor, c_0: Tensor, w: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return h_1 ... h_n and c_n for x_1 ... x_n [n, input] and c_0 [d].

    The highway has the scale alpha of section 3.2 for b = 0, or reads W_h x_t if there is a W_h.
    """
    units, inputs = range(len(c_0)), range(x.size(1))
    alpha = math.sqrt(1 + 2 * math.exp(0))
    outputs = []
    previous = [c_0[j] for j in units]
    for t in range(len(x)):

        def product(matrix: str, j: int, t: int = t) -> Tensor:
            return torch.stack([w[matrix][j, i] * x[t, i] for i in inputs]).sum()

        c, h = [], []
        for j in units:
            # eqs. 1-4
            f = 1 / (1 + torch.exp(-(product("W_f", j) + w["v_f"][j] * previous[j] + w["b_f"][j])))
            c_tj = f * previous[j] + (1 - f) * product("W", j)
            r = 1 / (1 + torch.exp(-(product("W_r", j) + w["v_r"][j] * previous[j] + w["b_r"][j])))
            carried = product("W_h", j) if "W_h" in w else alpha * x[t, j]
            c.append(c_tj)
            h.append(r * c_tj + (1 - r) * carried)
        outputs.append(torch.stack(h))
        previous = c
    return torch.stack(outputs), torch.stack(previous)
