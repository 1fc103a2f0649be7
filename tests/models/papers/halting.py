"""Adaptive computation time from Graves 2016, section 2, with the copied states of Dehghani et al. 2019."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Halted(NamedTuple):
    """What adaptive computation time gives for each position of a sentence."""

    outputs: Tensor  # y_t, [length, dim]
    ponders: Tensor  # rho_t = N(t) + R(t), [length]
    steps: list[int]  # N(t)


def adaptive_computation_time(
    s: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], w: Tensor, b: Tensor, epsilon: float
) -> Halted:
    """Apply layers, from states [length, dim] to states, to one sentence s [length, dim] of inputs of the first one."""
    length, dim = s.shape
    probabilities: list[list[Tensor]] = [[] for _ in range(length)]  # h_t^1, h_t^2, ... (eq. 5)
    states: list[list[Tensor]] = [[] for _ in range(length)]  # s_t^1, s_t^2, ...
    for number, layer in enumerate(layers, start=1):
        transformed, copied = layer(s), []
        for t in range(length):
            halted = sum(h.item() for h in probabilities[t]) >= 1 - epsilon
            if halted:
                copied.append(s[t])
                continue
            copied.append(transformed[t])
            states[t].append(transformed[t])
            h = 1 / (1 + torch.exp(-(sum(w[i] * transformed[t, i] for i in range(dim)) + b)))
            probabilities[t].append(h if number < len(layers) else torch.full_like(h, math.inf))
        s = torch.stack(copied)
    outputs, ponders, steps = [], [], []
    for h, of_position in zip(probabilities, states, strict=True):
        n_of_t = min(n for n in range(1, len(h) + 1) if sum(each.item() for each in h[:n]) >= 1 - epsilon)  # eq. 7
        assert n_of_t == len(h)
        remainder = 1 - sum(h[: n_of_t - 1])  # R(t), eq. 8
        p = [h[n - 1] if n < n_of_t else remainder for n in range(1, n_of_t + 1)]  # eq. 6
        outputs.append(torch.stack([p_n * s_n for p_n, s_n in zip(p, of_position, strict=True)]).sum(dim=0))  # eq. 13
        ponders.append(n_of_t + remainder * torch.ones_like(b))
        steps.append(n_of_t)
    return Halted(torch.stack(outputs), torch.stack(ponders), steps)
