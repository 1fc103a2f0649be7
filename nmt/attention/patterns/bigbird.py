"""Window, global and random blocks (Zaheer et al. 2020, Big Bird)."""

from __future__ import annotations

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

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        block, window, first = self.options.block, self.options.window, self.options.global_blocks
        b, other = i // block, j // block
        allowed: Tensor = ((b - other).abs() <= window) | (b < first) | (other < first)
        # the other blocks: those from `first` to before the window, and those from `after` to the last
        blocks = b + 1 if length is None else (length + block - 1) // block
        before = (torch.minimum(b - window, blocks) - first).clamp(min=0)
        after = (b + window + 1).clamp(min=first)
        count = before + (blocks - after).clamp(min=0)
        for draw in range(self.options.random_blocks):
            drawn = _hash(self.options.seed, b, draw) % count.clamp(min=1)
            drawn = torch.where(drawn < before, first + drawn, after + drawn - before)
            allowed = allowed | ((other == drawn) & (count > 0))
        return allowed


def _hash(seed: int, block: Tensor, draw: int) -> Tensor:
    """Return an integer of 32 bits for each block that looks random: their sum, mixed by shifts and products."""
    x = (seed * 0x9E3779B1 + block * 0x85EBCA77 + draw * 0xC2B2AE3D) & _32_BITS
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & _32_BITS
    return x ^ (x >> 16)


def make(config: TransformerConfig, place: Place) -> BigBird:
    """Return the pattern that `model.bigbird` describes."""
    return BigBird(config.bigbird)
