"""The embeddings that a Transformer's encoder and decoder begin with."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn

from nmt.attention.positions import make_embedded_positions
from nmt.config.models import TransformerConfig
from nmt.config.ranges import settled


class TokenEmbedding(nn.Module):
    """Scaled token embeddings plus positions, with dropout (Vaswani et al. 2017, sections 3.4, 3.5, 5.4)."""

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = make_embedded_positions(config)
        self.scale = math.sqrt(embedding.embedding_dim)
        self.dropout = nn.Dropout(settled(config.dropout))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Embed tokens [rows, length] at positions [rows or 1, length]; return [rows, length, dim]."""
        embedded: Tensor = self.scale * self.embedding(tokens)
        if (encoding := self.positions.embed(positions)) is not None:
            embedded = embedded + encoding
        return cast(Tensor, self.dropout(embedded))
