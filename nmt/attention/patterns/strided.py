"""A window and every position at a multiple of a stride (Child et al. 2019, Sparse Transformer)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Strided(Pattern):
    """A query attends to the keys at most `stride` positions away and to those a multiple of `stride` away.

    In Child et al. 2019 (section on factorised self-attention), with stride l, position i sees the window
    A(1) = {max(0, i - l), ..., i} and the steps A(2) = {j <= i: (i - j) mod l = 0}, either in different heads or layers
    or, as here, their union in every head. In two steps, everything before i reaches it. The paper's models are causal,
    so this is the pattern of a decoder. An encoder has the same on both sides: |i - j| <= l or (i - j) mod l = 0.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        return ((i - j).abs() <= self.stride) | ((i - j) % self.stride == 0)


def make(config: TransformerConfig, place: Place) -> Strided:
    """Return the pattern that `model.strided` describes."""
    return Strided(config.strided.stride)
