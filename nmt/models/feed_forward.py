"""The feed-forward networks of a Transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.config.models import TransformerConfig


class FeedForward(nn.Module):
    """The feed-forward network FFN(x) = W_2 activation(W_1 x) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.model_dim, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.model_dim)
        self.activation = torch.relu_ if config.activation == "relu" else functional.gelu
        self.dropout = nn.Dropout(config.ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.inner(x))
        output: Tensor = self.outer(self.dropout(inner))
        return output
