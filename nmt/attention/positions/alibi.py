"""Attention with linear biases (Press et al. 2022, ALiBi)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.attention.positions.base import Positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class LinearBiases(Positions):
    """A penalty on scores that grows linearly with the distance, with a fixed slope for each head.

    -slope |i - j| is added to the score of query i and key j (Press et al. 2022, section 3), after the score has been
    divided by sqrt(head_dim). The paper covers decoders only. In an encoder distances count equally in both directions,
    so that attention knows how far apart two words are, but not which comes first.
    """

    enters_scores = True
    slopes: Tensor  # [heads]

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor(slopes(num_heads)), persistent=False)

    def keep_heads(self, numbers: Sequence[int]) -> None:
        self.slopes = self.slopes[list(numbers)]

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        distances = (query_positions.unsqueeze(2) - key_positions.unsqueeze(1)).abs()  # [rows or 1, queries, keys]
        return -self.slopes[:, None, None] * distances.unsqueeze(1)


def slopes(num_heads: int) -> list[float]:
    """Return the slope 2^(-8h/n) of each head h = 1, ..., n, where n is the number of heads.

    If n is not a power of two, the slopes follow the authors' code: first the slopes for p heads, where p is the next
    lower power of two, then the first, third, fifth ... of the slopes for 2p heads.
    """
    power = 1 << (num_heads.bit_length() - 1)
    steps = [-8 * head / power for head in range(1, power + 1)]
    between = [-8 * head / (2 * power) for head in range(1, 2 * power, 2)]
    return [2.0**step for step in (steps + between)[:num_heads]]


def in_attention(config: TransformerConfig, place: Place) -> LinearBiases:
    """Return the linear biases of one layer."""
    return LinearBiases(config.num_heads)
