"""A Gaussian prior of attention around each position (Guo et al. 2019, Gaussian Transformer)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.attention.precision import wide_dtype
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class FixedGaussian(Pattern):
    """A bias that prefers near keys: softmax(e_ij - |w d^2 + b|) for scores e and the distance d = i - j.

    The prior multiplies the weights by a Gaussian of the distance before they are normalised (Guo et al. 2019, section
    on Gaussian self-attention). w = 1 / (2 sigma^2) > 0 is its narrowness, and b = -`self_penalty` <= 0 makes a
    position pay for attending to itself. Here both are fixed by the configuration.
    """

    def __init__(self, sigma: float, self_penalty: float) -> None:
        super().__init__()
        self.w = 1 / (2 * sigma**2)
        self.b = -self_penalty

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        distances = (query_positions.unsqueeze(2) - key_positions.unsqueeze(1)).unsqueeze(1)
        squares = (distances**2).to(wide_dtype(query))
        return -(self.w * squares + self.b).abs()  # [rows or 1, 1, queries, keys]


def make(config: TransformerConfig, place: Place) -> FixedGaussian:
    """Return the prior that `model.fixed_gaussian` describes."""
    return FixedGaussian(config.fixed_gaussian.sigma, config.fixed_gaussian.self_penalty)
