"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), as self-attention and over an encoder's states.

In a search the hypotheses of a sentence are further queries to what they share: the source, and each other's past.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from nmt.attention.cache import Past
from nmt.attention.kernels import by_products, full_attention, full_attention_weights


class Source(NamedTuple):
    """What attention over an encoder's states looks at. Keys lie as the product with queries reads them fastest."""

    keys: Tensor  # [batch, heads, head_dim, src_len]
    values: Tensor  # [batch, heads, src_len, head_dim]
    bias: Tensor  # [batch, 1, 1, src_len]; see `nmt.attention.kernels`


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """A projection's [rows, length, parts * dim] -> so many parts [rows, heads, length, head_dim]."""
    rows, length, _ = x.shape
    if length == 1:  # where there is nothing to transpose
        return x.view(rows, parts, num_heads, 1, -1).unbind(1)
    return x.view(rows, length, parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind()


def merge_heads(x: Tensor) -> Tensor:
    """[rows, heads, length, head_dim] -> [rows, length, dim]."""
    return x.reshape(x.size(0), 1, -1) if x.size(2) == 1 else x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Positions of one sequence attend to each other; one projection makes queries, keys and values."""

    def __init__(self, model_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, *, causal: bool = False, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """A whole sequence: x [rows, length, dim] -> the same shape, and weights [rows, heads, length, length].

        The encoder masks padding by bias [rows, 1, 1, length] (see `nmt.attention.kernels`); in the decoder, which is
        causal, position i sees 0..i. Weights are None unless asked for.
        """
        query, key, value = split_heads(self.qkv_projection(x), 3, self.num_heads)
        context = full_attention(query, key, value, bias=bias, causal=causal, dropout=self._dropout())
        weights = full_attention_weights(query, key, bias=bias, causal=causal) if need_weights else None
        return self._output(context), weights

    def extend(self, x: Tensor, past: Past) -> Tensor:
        """Decoder side, after a past: x [rows, length, dim] sees that and, causally, itself, and is kept with it."""
        batch = past.cache.batch
        if x.size(0) != batch:
            return self.extend(x.view(batch, -1, x.size(2)), past).view_as(x)
        query, key, value = split_heads(self.qkv_projection(x), 3, self.num_heads)
        return self._output(full_attention(query, *past.cache.write(past.layer, key, value), bias=past.bias))

    def _output(self, context: Tensor) -> Tensor:
        output: Tensor = self.output_projection(merge_heads(context))
        return output

    def _dropout(self) -> float:
        return self.dropout if self.training else 0.0


class CrossAttention(nn.Module):
    """Target positions attend to the encoder's states, whose keys and values are made once a sentence."""

    def __init__(self, model_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_projection = nn.Linear(model_dim, model_dim)
        self.kv_projection = nn.Linear(model_dim, 2 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def read(self, states: Tensor, bias: Tensor) -> Source:
        """What the encoder's states [batch, src_len, dim] are to each query; bias [batch, 1, 1, src_len]."""
        key, value = split_heads(self.kv_projection(states), 2, self.num_heads)
        if self.training:
            return Source(key.mT, value, bias)
        # a search reads them at every step: by products or by the fused kernel, which wants rows
        keys = key.mT.contiguous() if by_products(key) else key.contiguous().mT
        return Source(keys, value.contiguous(), bias)

    def forward(self, x: Tensor, memory: Source, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [rows, tgt_len, dim] -> the same shape, and weights [rows, heads, tgt_len, src_len] when asked for.

        memory is what `read` made. rows is a multiple of its rows: the hypotheses of a sentence become further queries.
        """
        rows, tgt_len, dim = x.shape
        key, value, bias = memory.keys.mT, memory.values, memory.bias
        query = self.query_projection(x).view(key.size(0), -1, self.num_heads, key.size(3)).transpose(1, 2)
        context = full_attention(query, key, value, bias=bias, dropout=self.dropout if self.training else 0.0)
        output = self.output_projection(merge_heads(context).reshape(rows, tgt_len, dim))
        if not need_weights:
            return output, None
        weights = full_attention_weights(query, key, bias=bias)  # [batch, heads, beam * tgt_len, src_len]
        weights = weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1)
        return output, weights
