"""A Gaussian bias whose centre and width each query predicts (Yang et al. 2018, Modeling Localness)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.patterns.base import Pattern
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig

_NARROWEST = 0.1  # of windows, in positions, so that 1 / sigma^2 stays finite


class LearnedGaussian(Pattern):
    """The bias -(j - P_i)^2 / (2 sigma_i^2) on the score of query i and key j, with sigma_i = D_i / 2.

    The centre P_i and the window D_i come from the query: P_i = I sigmoid(U_p tanh(W_p q_i)), and
    D_i = I sigmoid(U_d tanh(W_p q_i)) is the paper's query-specific window (Yang et al. 2018). I is the length of the
    sentence; in a decoder it is the number of positions up to i, because no key is seen beyond. As in the authors'
    code, q_i is the query of all heads together, U_p and U_d give each head its own centre and window, the projections
    have biases, and the centre lies between the first and the last position, so that here I - 1 takes the place of I.
    """

    def __init__(self, model_dim: int, num_heads: int) -> None:
        super().__init__()
        self.inner_projection = nn.Linear(model_dim, model_dim)  # W_p
        self.centre_projection = nn.Linear(model_dim, num_heads)  # U_p
        self.window_projection = nn.Linear(model_dim, num_heads)  # U_d

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        # lengths I and predictions of the query, for each head
        length = query_positions + 1 if src_lengths is None else src_lengths.unsqueeze(1)
        length = length[:, None, :, None]  # [rows or 1, 1, queries or 1, 1]
        inner = torch.tanh(self.inner_projection(query.transpose(1, 2).flatten(2)))
        centre = (length - 1) * self._share(self.centre_projection(inner))  # P
        window = (length * self._share(self.window_projection(inner))).clamp(min=_NARROWEST)  # D
        # Gaussian [rows, heads, queries, keys]
        return -((key_positions[:, None, None] - centre) ** 2) / (2 * (window / 2) ** 2)

    def _share(self, prediction: Tensor) -> Tensor:
        """Return the sigmoids [rows, heads, queries, 1] of predictions [rows, queries, heads], in float32 or wider."""
        return torch.sigmoid(wide(prediction)).mT.unsqueeze(3)


def make(config: TransformerConfig, place: Place) -> LearnedGaussian:
    """Return the bias of one layer."""
    return LearnedGaussian(config.model_dim, config.num_heads)
