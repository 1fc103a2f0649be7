"""The dense synthesizer: scores that each word computes without reading the others (Tay et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.multihead import split_heads
from nmt.attention.normalisers import Normaliser
from nmt.attention.synthesizer import Synthesizer, common_parts
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class DenseSynthesizer(Synthesizer):
    """A synthesizer with scores B_i = W_2 ReLU(W_1 x_i + b_1) + b_2, one for each position (Dense Synthesizer).

    The heads divide the hidden layer, which has model_dim features, among them. Each has a W_2 and b_2 of its own.
    """

    not_decayed = ("score_bias",)

    def __init__(
        self, model_dim: int, num_heads: int, max_length: int, causal: bool, dropout: float, normaliser: Normaliser
    ) -> None:
        super().__init__(model_dim, num_heads, max_length, causal, dropout, normaliser)
        self.hidden_projection = nn.Linear(model_dim, model_dim)  # W_1
        self.score_weight = nn.Parameter(torch.empty(num_heads, model_dim // num_heads, max_length))  # W_2, transposed
        self.score_bias = nn.Parameter(torch.zeros(num_heads, 1, max_length))  # b_2
        for head in self.score_weight.detach():
            nn.init.xavier_uniform_(head)

    def scores(self, x: Tensor, start: int) -> Tensor:
        (hidden,) = split_heads(torch.relu(self.hidden_projection(x)), 1, self.num_heads)
        return hidden @ self.score_weight + self.score_bias


def make(config: TransformerConfig, place: Place) -> DenseSynthesizer:
    """Return the dense synthesizer of one layer."""
    max_length = config.synthesizer_dense.max_length
    return DenseSynthesizer(config.model_dim, config.num_heads, max_length, *common_parts(config, place))
