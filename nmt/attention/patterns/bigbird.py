"""Window, global and random blocks (Zaheer et al. 2020, Big Bird)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import BigBirdConfig

_32_BITS = 2**32 - 1


class BigBird(Pattern):
    """A query attends to the keys of some blocks: its neighbours, the first blocks, and blocks drawn at random.

    A sentence is divided into blocks of `block` positions. A query in block b sees the blocks at most `window` blocks
    away, and the first `global_blocks` blocks, whose queries see everything (the paper's internal global tokens). From
    the other blocks of the sentence, or in a decoder from those before b, `random_blocks` are drawn for block b; two
    draws can give the same block. They depend only on the seed, b, the number of the draw and the number of blocks, so
    that neither other sentences nor padding change them. The draws of all heads and layers are the same.
    """

    def __init__(self, options: BigBirdConfig) -> None:
        super().__init__()
        self.options = options
        self.first = options.global_blocks * options.block

    @property
    def near(self) -> int:
        return (self.options.window + 1) * self.options.block - 1

    def far(self, i: Tensor, length: Tensor | None) -> Tensor:
        block = self.options.block
        within, first = torch.arange(block, device=i.device), torch.arange(self.first, device=i.device)
        # all blocks that a block of queries can touch, and the positions of what they draw
        b = i[..., :1] // block + torch.arange((i.size(2) - 1) // block + 2, device=i.device)
        keys = [(drawn.unsqueeze(3) * block + within).flatten(2) for drawn in self._draws(b, length)]
        rows, blocks = torch.broadcast_shapes(i.shape[:2], *(each.shape[:2] for each in keys))
        return torch.cat([each.expand(rows, blocks, -1) for each in (first, *keys)], dim=2)

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        block, window, first = self.options.block, self.options.window, self.options.global_blocks
        b, other = i // block, j // block
        allowed: Tensor = ((b - other).abs() <= window) | (b < first) | (other < first)
        for drawn in self._draws(b, length):
            allowed = allowed | (other == drawn)
        return allowed

    def _draws(self, b: Tensor, length: Tensor | None) -> Iterator[Tensor]:
        """Yield for each draw the blocks that blocks b have drawn; -1 where there is no block to draw."""
        block, window, first = self.options.block, self.options.window, self.options.global_blocks
        # the other blocks: those from `first` to before the window, and those from `after` to the last
        blocks = b + 1 if length is None else (length + block - 1) // block
        before = (torch.minimum(b - window, blocks) - first).clamp(min=0)
        after = (b + window + 1).clamp(min=first)
        count = before + (blocks - after).clamp(min=0)
        for draw in range(self.options.random_blocks):
            drawn = _hash(self.options.seed, b, draw) % count.clamp(min=1)
            drawn = torch.where(drawn < before, first + drawn, after + drawn - before)
            yield torch.where(count > 0, drawn, -1)


def _hash(seed: int, block: Tensor, draw: int) -> Tensor:
    """Return a 32-bit integer for each block, like a random one: a weighted sum of the arguments, mixed bit by bit."""
    x = (seed * 0x9E3779B1 + block * 0x85EBCA77 + draw * 0xC2B2AE3D) & _32_BITS
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & _32_BITS
    return x ^ (x >> 16)


def make(config: TransformerConfig, place: Place) -> BigBird:
    """Return the pattern that `model.bigbird` describes."""
    return BigBird(config.bigbird)
