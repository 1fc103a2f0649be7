"""Multi-head attention to the last layer of the encoder (Vaswani et al. 2017, section 3.2.3)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from nmt.attention import patterns
from nmt.attention.contract import Attend, Attended, Encoded, MechanismState, SourceAttention
from nmt.attention.heads import Heads, make_head_normaliser, make_heads
from nmt.attention.multihead import attention_weights
from nmt.attention.normalisers import Normaliser, Softmax
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.kernels.scaled_dot_product import attention


class SourceKeysValues(NamedTuple):
    """The projected keys and values of the source, and the bias that hides its padding."""

    keys: Tensor  # [batch, num_kv_heads, src_len, head_dim]
    values: Tensor  # [batch, num_kv_heads, src_len, head_dim]
    bias: Tensor  # [batch, 1, 1, src_len]


class CrossAttention(SourceAttention):
    """Attention from target positions to the encoder's states, whose keys and values are computed once per sentence."""

    def __init__(
        self, model_dim: int, heads: Heads, dropout: float = 0.0, normaliser: Normaliser | None = None
    ) -> None:
        """Create the attention; without a normaliser it has a softmax."""
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.normaliser = normaliser or Softmax()
        self.query_projection = nn.Linear(model_dim, heads.dim)
        self.kv_projection = nn.Linear(model_dim, 2 * heads.kv_dim)
        self.output_projection = nn.Linear(heads.dim, model_dim)

    def read(self, encoded: Encoded) -> SourceKeysValues:
        return self.source(encoded.states, encoded.mask)

    def source(self, states: Tensor, mask: Tensor) -> SourceKeysValues:
        """Return the keys and values of states [batch, src_len, dim]; mask [batch, src_len] is False at padding."""
        key, value = self.heads.split(self.kv_projection(states), (self.heads.num_kv_heads,) * 2)
        return SourceKeysValues(self.heads.qk_norm.key(key), value, patterns.padding(mask))

    def over(self, memory: SourceKeysValues, *, need_weights: bool = False) -> Attend:
        key, value, bias = self.heads.shared(memory.keys), self.heads.shared(memory.values), memory.bias

        def attend(x: Tensor, positions: Tensor, state: MechanismState = None) -> Attended:
            rows, tgt_len, _ = x.shape
            # queries; the hypotheses of a sentence are additional queries, so that keys and values are never repeated
            folded = self.query_projection(x).view(key.size(0), -1, self.heads.dim)
            (query,) = self.heads.split(folded, (self.heads.num_heads,))
            query = self.heads.qk_norm.query(query)
            # weights, which the fused kernel does not return
            weights = None
            if need_weights or not self.normaliser.fused:
                weights = attention_weights(query, key, bias, self.normaliser)  # [batch, heads, queries, src_len]
            # contexts
            if self.normaliser.fused:
                context = attention(query, key, value, bias=bias, dropout=self.dropout, training=self.training)
            else:
                assert weights is not None
                dropped = functional.dropout(weights, self.dropout, self.training).to(value.dtype)
                context = dropped @ value
            context = self.normaliser.of_context(self.heads.merge(context))
            output = self.output_projection(context).view(rows, tgt_len, -1)
            if not need_weights:
                return Attended(output, None)
            assert weights is not None
            weights = self.heads.numbered(weights)
            return Attended(output, weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1))

        return attend


def make(config: TransformerConfig, place: Place) -> CrossAttention:
    """Return the cross-attention of a decoder layer."""
    normaliser = make_head_normaliser(config, place)
    return CrossAttention(config.model_dim, make_heads(config, place), config.attention_dropout, normaliser)
