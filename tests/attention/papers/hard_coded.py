"""Hard-coded Gaussian attention, from You et al. 2020 and the authors' code."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """The matrices W^V and W^O with their biases."""

    value: Tensor  # [dim, dim]
    value_bias: Tensor  # [dim]
    output: Tensor
    output_bias: Tensor


def hard_coded(
    x: Tensor, positions: list[int], weights: Weights, num_heads: int, offsets: list[int], sigma: float, causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs [length, dim] and the attention weights [heads, length, length] of one sentence."""
    size = x.size(1) // num_heads
    outputs, attention = [], torch.zeros(num_heads, len(x), len(x), dtype=x.dtype)
    for at, i in enumerate(positions):
        heads = []
        for head in range(num_heads):
            rows = slice(head * size, (head + 1) * size)
            mean = i + offsets[head % len(offsets)]
            z = torch.zeros(size, dtype=x.dtype)
            for other, j in enumerate(positions):
                if causal and j > i:
                    continue
                density = math.exp(-((j - mean) ** 2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2)
                attention[head, at, other] = density
                z = z + density * (weights.value[rows] @ x[other] + weights.value_bias[rows])
            heads.append(z)
        outputs.append(weights.output @ torch.cat(heads) + weights.output_bias)
    return torch.stack(outputs), attention
