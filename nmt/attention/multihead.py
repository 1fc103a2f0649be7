"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), as self-attention and over an encoder's states.

In a search the hypotheses of a sentence are further queries to what they share: the source, and each other's past.
"""

from __future__ import annotations

from torch import Tensor, nn

from nmt.attention.cache import KeysValues, Past
from nmt.attention.kernels import by_products, full_attention, full_attention_weights


def split_heads(x: Tensor, parts: int, num_heads: int) -> Tensor:
    """A projection's [rows, length, parts * dim] -> [rows, heads, parts, length, head_dim]."""
    rows, length, _ = x.shape
    return x.view(rows, length, parts, num_heads, -1).permute(0, 3, 2, 1, 4)


def merge_heads(x: Tensor) -> Tensor:
    """[rows, heads, length, head_dim] -> [rows, length, dim]."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Positions of one sequence attend to each other; one projection makes queries, keys and values."""

    def __init__(self, model_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Encoder side: x [batch, length, dim], bias [batch, 1, 1, length]; see `nmt.attention.kernels`."""
        query, key, value = self._project(x).unbind(2)
        return self._output(full_attention(query, key, value, bias=bias, dropout=self._dropout()))

    def decode(self, x: Tensor) -> Tensor:
        """Decoder side, from the start: x [rows, length, dim] sees, causally, itself."""
        query, key, value = self._project(x).unbind(2)
        return self._output(full_attention(query, key, value, causal=True, dropout=self._dropout()))

    def extend(self, x: Tensor, past: Past) -> Tensor:
        """Decoder side, after a past: x [rows, length, dim] sees that and, causally, itself, and is kept with it."""
        query, key, value = self._project(x.view(past.cache.batch, -1, x.size(2))).unbind(2)
        context = full_attention(query, *past.cache.write(past.layer, key, value), bias=past.bias)
        return self._output(context).view_as(x)

    def _project(self, x: Tensor) -> Tensor:
        """Queries, keys and values [rows, heads, 3, length, head_dim]."""
        return split_heads(self.qkv_projection(x), 3, self.num_heads)

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

    def read(self, states: Tensor) -> KeysValues:
        """What the encoder's states [batch, src_len, dim] are to each query."""
        key, value = split_heads(self.kv_projection(states), 2, self.num_heads).unbind(2)
        if self.training:
            return KeysValues(key.mT, value)
        # a search reads them at every step: by products or by the fused kernel, which wants rows
        keys = key.mT.contiguous() if by_products(key) else key.contiguous().mT
        return KeysValues(keys, value.contiguous())

    def forward(
        self, x: Tensor, memory: KeysValues, bias: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [rows, tgt_len, dim] -> the same shape, and weights [rows, heads, tgt_len, src_len] when asked for.

        memory is what `read` made and bias is [batch, 1, 1, src_len]. rows is a multiple of the memory's rows: the
        hypotheses of a sentence become further queries to it.
        """
        rows, tgt_len, dim = x.shape
        key, value = memory.keys.mT, memory.values
        query = self.query_projection(x).view(key.size(0), -1, self.num_heads, key.size(3)).transpose(1, 2)
        context = full_attention(query, key, value, bias=bias, dropout=self.dropout if self.training else 0.0)
        output = self.output_projection(merge_heads(context).view(rows, tgt_len, dim))
        if not need_weights:
            return output, None
        weights = full_attention_weights(query, key, bias=bias)  # [batch, heads, beam * tgt_len, src_len]
        weights = weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1)
        return output, weights
