"""Lightweight convolution, in the place of self-attention (Wu et al. 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.convolution import Convolution
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class LightConvolution(Convolution):
    """A convolution with one learned kernel for each head, the same at all positions (LightConv)."""

    def __init__(self, model_dim: int, num_heads: int, kernel_size: int, dropout: float, causal: bool) -> None:
        super().__init__(model_dim, num_heads, kernel_size, dropout, causal)
        self.kernels = nn.Parameter(torch.empty(num_heads, kernel_size))  # W
        nn.init.xavier_uniform_(self.kernels)

    def scores(self, values: Tensor) -> Tensor:
        return self.kernels[None, None]


def make(config: TransformerConfig, place: Place) -> LightConvolution:
    """Return the lightweight convolution of one layer."""
    options = config.light_conv
    return LightConvolution(
        config.model_dim, config.num_heads, options.kernel_size(place.layer), options.dropout, place.causal
    )
