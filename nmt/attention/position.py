"""Position terms of the Transformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinusoidalPositions(nn.Module):
    """PE(pos, 2i) = sin(pos / 10000^(2i/dim)), PE(pos, 2i+1) = cos(...) (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, dim: int, initial_length: int = 512) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("table", sinusoids(initial_length, dim), persistent=False)

    def forward(self, start: int, length: int) -> Tensor:
        """Return the encodings [length, dim] of the positions start, start + 1, ..."""
        table = self.table  # another thread may put in one that is too short for this one
        if start + length > table.size(0):
            with torch.inference_mode(False):  # it may grow during a validation, and training uses it afterwards
                self.table = table = sinusoids(2 * (start + length), self.dim).to(table)
        return table[start : start + length]


def sinusoids(length: int, dim: int) -> Tensor:
    """The table [length, dim] of sines (even columns) and cosines (odd columns); dim is even."""
    position = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    angle = position * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
