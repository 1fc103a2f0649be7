"""Lightweight convolution, from Wu et al. 2019, sections 2 and 3."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# (X [length, dim], i from 1, head from 1) -> the kernel [k] of that head at that position before its softmax
Kernel = Callable[[Tensor, int, int], Tensor]


def layer(
    x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, kernel: Kernel, heads: int, causal: bool
) -> Tensor:
    """Return the outputs of a layer for one sentence [length, dim]: GLU, convolution, projection (figure 2)."""
    dim = x.size(1)
    values = []
    for row in x:
        entered = [w_in[c] @ row + b_in[c] for c in range(2 * dim)]
        values.append(torch.stack([entered[c] / (1 + torch.exp(-entered[dim + c])) for c in range(dim)]))
    gated = torch.stack(values)
    outputs = []
    for i in range(1, len(x) + 1):
        mixed = torch.stack([convolution(gated, kernel, i, c, heads, causal) for c in range(1, dim + 1)])
        outputs.append(torch.stack([w_out[c] @ mixed + b_out[c] for c in range(dim)]))
    return torch.stack(outputs)


def convolution(x: Tensor, kernel: Kernel, i: int, c: int, heads: int, causal: bool) -> Tensor:
    """Return LightConv(X, W, i, c) = DepthwiseConv(X, softmax(W_{ceil(cH/d)}), i, c); i and c count from 1."""
    weights = kernel(x, i, math.ceil(c * heads / x.size(1)))
    k = len(weights)
    normaliser = sum(torch.exp(weights[j]) for j in range(k))
    total = torch.zeros((), dtype=x.dtype)
    for j in range(1, k + 1):
        at = i + j - k if causal else i + j - math.ceil((k + 1) / 2)
        if 1 <= at <= len(x):
            total = total + torch.exp(weights[j - 1]) / normaliser * x[at - 1, c - 1]
    return total
