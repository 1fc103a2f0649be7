"""Blocks: attention within parts of equal length (Liu et al. 2018, Generating Wikipedia, local attention)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Blocks(Pattern):
    """A query attends to the keys of its own block of `size` positions: floor(i / size) = floor(j / size).

    If all layers are of this kind, no block ever hears of another. In Liu et al. they take turns with layers whose
    queries see all positions. A decoder remembers the last `size` - 1 positions.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.reach = size - 1

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        return i // self.size == j // self.size


def make(config: TransformerConfig, place: Place) -> Blocks:
    """Return the blocks that `model.blocks` describes."""
    return Blocks(config.blocks.size)
