"""The Mamba block, from Gu and Dao 2023, and its form for both directions, from Zhu et al. 2024 (algorithm 1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ssm(NamedTuple):
    """The weights of a convolution and of a selective state space model with E channels."""

    kernel: Tensor  # [E, width]
    kernel_bias: Tensor  # [E]
    w_delta: Tensor  # [rank, E], Linear_R
    w_b: Tensor  # [N, E]
    w_c: Tensor  # [N, E]
    w_broadcast: Tensor  # [E, rank], Linear_D
    delta_bias: Tensor  # [E]
    a: Tensor  # [E, N], the diagonals of A
    d: Tensor  # [E]


def mamba(x: Tensor, w_in: Tensor, w_out: Tensor, forward: Ssm, backward: Ssm | None = None) -> Tensor:
    """Return the outputs for x_1 ... x_n, one sentence [length, dim], of a block with one or two directions."""
    channels = len(w_in) // 2
    entered = [apply(w_in, list(row)) for row in x]
    y = ssm([row[:channels] for row in entered], forward)
    if backward is not None:
        reverse = ssm([row[:channels] for row in entered[::-1]], backward)[::-1]
        y = [[one + other for one, other in zip(*pair, strict=True)] for pair in zip(y, reverse, strict=True)]
    outputs = []
    for y_t, entered_t in zip(y, entered, strict=True):
        outputs.append(apply(w_out, [y_t[e] * silu(entered_t[channels + e]) for e in range(channels)]))
    return torch.stack([torch.stack(row) for row in outputs])


def ssm(x: list[list[Tensor]], w: Ssm) -> list[list[Tensor]]:
    """Return y_1 ... y_n for x_1 ... x_n, which the convolution reads."""
    channels, states = w.a.shape
    h = [[torch.zeros((), dtype=w.a.dtype) for _ in range(states)] for _ in range(channels)]
    outputs = []
    for u in convolved(x, w):
        low_rank = apply(w.w_delta, u)
        b, c, broadcast = apply(w.w_b, u), apply(w.w_c, u), apply(w.w_broadcast, low_rank)
        y = []
        for e in range(channels):
            delta = torch.log(1 + torch.exp(w.delta_bias[e] + broadcast[e]))  # softplus
            y_e = w.d[e] * u[e]
            for n in range(states):
                a_bar = torch.exp(delta * w.a[e, n])  # eq. 4
                b_bar = 1 / (delta * w.a[e, n]) * (torch.exp(delta * w.a[e, n]) - 1) * delta * b[n]
                h[e][n] = a_bar * h[e][n] + b_bar * u[e]  # eq. 2a
                y_e = y_e + c[n] * h[e][n]  # eq. 2b
            y.append(y_e)
        outputs.append(y)
    return outputs


def convolved(x: list[list[Tensor]], w: Ssm) -> list[list[Tensor]]:
    """Return SiLU of the causal convolution, one kernel for each channel."""
    channels, width = w.kernel.shape
    outputs = []
    for t in range(len(x)):
        u = []
        for e in range(channels):
            total = w.kernel_bias[e]
            for back in range(width):
                if t - back >= 0:
                    total = total + w.kernel[e, width - 1 - back] * x[t - back][e]
            u.append(silu(total))
        outputs.append(u)
    return outputs


def apply(matrix: Tensor, vector: list[Tensor]) -> list[Tensor]:
    """Return the matrix times the vector."""
    return [sum((row[j] * vector[j] for j in range(len(vector))), torch.zeros_like(row[0])) for row in matrix]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))
