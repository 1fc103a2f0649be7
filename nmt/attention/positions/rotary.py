"""Rotary positions (Su et al. 2021, RoFormer)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.attention.positions.base import Positions
from nmt.attention.positions.sinusoidal import frequencies
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class RotaryPositions(Positions):
    """Rotations of queries and keys by angles proportional to their positions.

    So a position enters a score only by its distance to the other one.
    At position m the components 2i and 2i + 1 of a head are rotated by m base^(-2i/head_dim) (Su et al. 2021, eq. 34).
    """

    frequencies: Tensor  # [head_dim / 2]

    def __init__(self, head_dim: int, base: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies(head_dim, base), persistent=False)

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        angles = (positions.unsqueeze(-1) * self.frequencies).unsqueeze(1)  # [rows or 1, 1, length, head_dim / 2]
        return rotate(x, angles)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate each pair of components (2i, 2i + 1) of x [..., dim] by its angle in angles [..., dim / 2].

    Products are computed in the wider dtype of the two; the result has the dtype of x.
    """
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return rotated.flatten(-2).to(x.dtype)


def in_attention(config: TransformerConfig, place: Place) -> RotaryPositions:
    """Return the rotation of queries and keys in one layer."""
    return RotaryPositions(config.model_dim // config.num_heads, config.rotary.base)
