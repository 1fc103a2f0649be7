"""Learned positions, which are added to embeddings (Gehring et al. 2017, section 3.1; Devlin et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from nmt.attention.positions.base import Positions
from nmt.config.models import TransformerConfig


class LearnedPositions(Positions):
    """A learned vector p_i for each position i, added to the embedding of the token there.

    Encoder and decoder have vectors of their own. They exist for the first max_length positions. The last of them
    serves all positions beyond, which therefore cannot be told apart. In both papers the vectors begin with the same
    standard deviation as the embeddings of tokens; here that is 1, since `TokenEmbedding` scales its embeddings.
    """

    def __init__(self, max_length: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(max_length, dim)  # from a normal distribution with a standard deviation of 1

    def embed(self, positions: Tensor) -> Tensor:
        embedded: Tensor = self.vectors(positions.clamp(max=self.vectors.num_embeddings - 1))
        return embedded


def in_embeddings(config: TransformerConfig) -> LearnedPositions:
    """Return the vectors that are added to the embeddings of one stack."""
    return LearnedPositions(config.learned.max_length, config.model_dim)
