"""Transparent attention: the decoder attends to a learned sum of all layers of the encoder (Bapna et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.contract import Encoded
from nmt.attention.cross.softmax import CrossAttention, SourceKeysValues
from nmt.attention.heads import Heads, make_head_normaliser, make_heads
from nmt.attention.normalisers import Normaliser, softmax
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class TransparentAttention(CrossAttention):
    """Attention of decoder layer j to z_j = sum_i s_ij h_i with s_j = softmax(W_j), instead of the last layer h_N.

    h_0 are the source embeddings and h_1 ... h_N the outputs of the encoder's N layers, all after the encoder's final
    normalisation. W_j starts at zero, so that training begins with the mean of the layers.
    """

    reads_layers = True

    def __init__(
        self,
        model_dim: int,
        heads: Heads,
        encoder_layers: int,
        dropout: float = 0.0,
        layer_dropout: float = 0.0,
        normaliser: Normaliser | None = None,
    ) -> None:
        """Create the attention; `layer_dropout` is the dropout rate for elements of W_j, applied before the softmax."""
        super().__init__(model_dim, heads, dropout, normaliser)
        self.layer_scores = nn.Parameter(torch.zeros(encoder_layers + 1))  # W_j
        self.layer_dropout = nn.Dropout(layer_dropout)

    def read(self, encoded: Encoded) -> SourceKeysValues:
        assert encoded.layers is not None, "encode with need_layers"
        # weights s_j of the encoder's layers
        weights = softmax(self.layer_dropout(self.layer_scores))
        # weighted sum z_j of the layers
        mixed: Tensor = torch.einsum("n,bnsd->bsd", weights.to(encoded.layers.dtype), encoded.layers)
        return self.source(mixed, encoded.mask)


def make(config: TransformerConfig, place: Place) -> TransparentAttention:
    """Return the transparent attention of a decoder layer."""
    return TransparentAttention(
        config.model_dim,
        make_heads(config, place),
        config.encoder_layers,
        config.attention_dropout,
        config.transparent.dropout,
        make_head_normaliser(config, place),
    )
