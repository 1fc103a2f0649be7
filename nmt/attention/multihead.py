"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), as self-attention and over an encoder's states."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.kernels import full_attention, full_attention_weights


class KeysValues(NamedTuple):
    """Projected keys and values, split into heads: [rows, heads, length, head_dim] each."""

    keys: Tensor
    values: Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[rows, length, dim] -> [rows, heads, length, head_dim]."""
    return x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2)


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

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encoder side: x [batch, length, dim], mask [batch, length] bool, True = may attend."""
        query, key, value = self._project(x)
        context = full_attention(query, key, value, mask=mask[:, None, None, :], dropout=self._dropout())
        return self._output(context)

    def decode(self, x: Tensor, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        """Decoder side: x [rows, length, dim] sees `past` and, causally, itself; the past with x is handed on."""
        query, key, value = self._project(x)
        if past is None:
            context = full_attention(query, key, value, causal=True, dropout=self._dropout())
            return self._output(context), KeysValues(key, value)
        now = KeysValues(torch.cat((past.keys, key), dim=2), torch.cat((past.values, value), dim=2))
        mask = None
        if x.size(1) > 1:  # a forced prefix after a past: query i is at position past + i
            total, length = now.keys.size(2), x.size(1)
            mask = torch.ones(length, total, dtype=torch.bool, device=x.device).tril(total - length)
        return self._output(full_attention(query, now.keys, now.values, mask=mask)), now

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.qkv_projection(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

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
        """Keys and values of the encoder's states [batch, src_len, dim]."""
        key, value = self.kv_projection(states).chunk(2, dim=-1)
        return KeysValues(split_heads(key, self.num_heads), split_heads(value, self.num_heads))

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [rows, tgt_len, dim] -> the same shape, and weights [rows, heads, tgt_len, src_len] when asked for.

        rows is a multiple of the memory's rows: the hypotheses of a sentence become further queries to it.
        """
        rows, tgt_len, dim = x.shape
        query = split_heads(self.query_projection(x).reshape(mask.size(0), -1, dim), self.num_heads)
        mask = mask[:, None, None, :]  # [batch, 1, 1, src_len]
        context = full_attention(query, *memory, mask=mask, dropout=self.dropout if self.training else 0.0)
        output = self.output_projection(merge_heads(context).reshape(rows, tgt_len, dim))
        if not need_weights:
            return output, None
        weights = full_attention_weights(query, memory.keys, mask=mask)  # [batch, heads, beam * tgt_len, src_len]
        weights = weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1)
        return output, weights
