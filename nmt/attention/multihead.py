"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), as self-attention and over an encoder's states."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.kernels import full_attention, full_attention_weights


class KeysValues(NamedTuple):
    """The keys and values of a self-attention over the positions so far: its state in a search."""

    keys: Tensor  # [rows, heads, length, head_dim]
    values: Tensor  # [rows, heads, length, head_dim]


class Source(NamedTuple):
    """The keys and values of a source sentence, made once, and the bias that hides its padding."""

    keys: Tensor  # [batch, heads, src_len, head_dim]
    values: Tensor  # [batch, heads, src_len, head_dim]
    bias: Tensor  # [batch, 1, 1, src_len]; see `nmt.attention.kernels`


def split_heads(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Split a projection [rows, length, parts * dim] into its parts [rows, heads, length, head_dim]."""
    split: Tensor = x.unflatten(2, (parts, num_heads, -1))  # [rows, length, parts, heads, head_dim]
    return split.permute(2, 0, 3, 1, 4).unbind()


def merge_heads(x: Tensor) -> Tensor:
    """Put heads side by side again: [rows, heads, length, head_dim] -> [rows, length, dim]."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Positions of one sequence attend to each other; one projection makes queries, keys and values."""

    def __init__(self, model_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def init_state(self, rows: int, like: Tensor) -> KeysValues:
        """Return the state before the first position of each row; `like` has its device and type."""
        head_dim = self.output_projection.in_features // self.num_heads
        empty = like.new_empty(rows, self.num_heads, 0, head_dim)
        return KeysValues(empty, empty)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        state: KeysValues | None = None,
        *,
        causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Tensor, KeysValues | None, Tensor | None]:
        """Return attended x [rows, length, dim], the next state and, when asked for, weights.

        The encoder hides padding by bias [rows, 1, 1, length] (see `nmt.attention.kernels`). The decoder is causal: a
        position sees itself, those before it in x, and those of `state`. Weights are [rows, heads, length, keys].
        """
        query, key, value = split_heads(self.qkv_projection(x), 3, self.num_heads)
        if state is not None:
            key, value = torch.cat((state.keys, key), dim=2), torch.cat((state.values, value), dim=2)
            state = KeysValues(key, value)
        dropout = self.dropout if self.training else 0.0
        context = full_attention(query, key, value, bias=bias, causal=causal, dropout=dropout)
        weights = full_attention_weights(query, key, bias=bias, causal=causal) if need_weights else None
        return self.output_projection(merge_heads(context)), state, weights


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
        """Return the keys and values of states [batch, src_len, dim]; bias [batch, 1, 1, src_len] hides padding."""
        key, value = split_heads(self.kv_projection(states), 2, self.num_heads)
        return Source(key, value, bias)

    def forward(self, x: Tensor, memory: Source, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [rows, tgt_len, dim] -> the same shape, and weights [rows, heads, tgt_len, src_len] when asked for.

        memory is what `read` made. rows is a multiple of its rows: the hypotheses of a sentence become further queries.
        """
        rows, tgt_len, dim = x.shape
        key, value, bias = memory
        query = self.query_projection(x).view(key.size(0), -1, self.num_heads, key.size(3)).transpose(1, 2)
        context = full_attention(query, key, value, bias=bias, dropout=self.dropout if self.training else 0.0)
        output = self.output_projection(merge_heads(context).reshape(rows, tgt_len, dim))
        if not need_weights:
            return output, None
        weights = full_attention_weights(query, key, bias=bias)  # [batch, heads, beam * tgt_len, src_len]
        weights = weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1)
        return output, weights
