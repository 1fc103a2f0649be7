"""Sinusoidal positions, which are added to embeddings (Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nmt.attention.positions.base import Positions
from nmt.config.models import TransformerConfig


class SinusoidalPositions(Positions):
    """Sinusoidal positions: PE(pos, 2i) = sin(pos / 10000^(2i/dim)), PE(pos, 2i+1) = cos(pos / 10000^(2i/dim))."""

    frequencies: Tensor  # [dim / 2]

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies(dim), persistent=False)

    def embed(self, positions: Tensor) -> Tensor:
        return sinusoids(positions, self.frequencies)


def frequencies(dim: int, base: float = 10000.0) -> Tensor:
    """Return the frequencies base^(-2i/dim) for i = 0, 1, ..., dim / 2 - 1: [dim / 2]."""
    return torch.exp(torch.arange(0, dim, 2) * (-math.log(base) / dim))


def sinusoids(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Return the sines (even columns) and cosines (odd columns) [..., dim] of positions [...]."""
    angles = positions.unsqueeze(-1) * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def in_embeddings(config: TransformerConfig) -> SinusoidalPositions:
    """Return the sinusoids that are added to the embeddings of one stack."""
    return SinusoidalPositions(config.model_dim)
