"""Attention over the source in searches of few sentences, whose keys and values absorb the maps around it."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from nmt.attention.cache import KeysValues
from nmt.attention.joined_cache import FEW_SENTENCES
from nmt.attention.multihead import CrossAttention, split_heads


class Absorbed(NamedTuple):
    """What attention looks at, by heads and positions."""

    keys: Tensor  # [batch, dim, heads * src_len]: products with them are scores
    bias: Tensor  # [batch, 1, heads * src_len], of the scores
    values: Tensor  # [batch, heads * src_len, dim]: weighted, they sum to the output


class AbsorbingAttention:
    """A `CrossAttention` as a function: for few sentences with fewer operations, and fewer weights to read at a step.

    Of each head, (W_q x + b_q) . k = x . (W_q^T k) + b_q . k, and W_o (sum of a v) = sum of a (W_o v). So keys and
    values, which are made once a sentence, can stand for the maps of queries and outputs. That pays where positions are
    no more than a head is wide.
    """

    def __init__(self, attention: CrossAttention) -> None:
        """The maps must have weights in floating point."""
        self._attention = attention
        self._num_heads = attention.num_heads

    def read(self, states: Tensor) -> KeysValues | Absorbed:
        """What the encoder's states [batch, src_len, dim] are to each query."""
        attention = self._attention
        batch, src_len, dim = states.shape
        if batch > FEW_SENTENCES or src_len * self._num_heads > dim or torch.is_autocast_enabled(states.device.type):
            return attention.read(states)
        key, value = split_heads(attention.kv_projection(states), 2, self._num_heads).unbind(2)
        key = key * (1 / math.sqrt(key.size(3)))
        query, output = attention.query_projection, attention.output_projection
        by_heads = (self._num_heads, -1)
        return Absorbed(
            keys=(key @ query.weight.unflatten(0, by_heads)).flatten(1, 2).mT,
            bias=(key @ query.bias.view(*by_heads, 1)).view(batch, 1, -1),
            values=(value @ output.weight.t().unflatten(0, by_heads)).flatten(1, 2),
        )

    def __call__(
        self, x: Tensor, memory: KeysValues | Absorbed, bias: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """See `CrossAttention.forward`."""
        if isinstance(memory, KeysValues):
            return cast("tuple[Tensor, Tensor | None]", self._attention(x, memory, bias, need_weights))
        batch, dim, size = memory.keys.shape
        scores = torch.baddbmm(memory.bias, x.view(batch, -1, dim), memory.keys)
        weights = torch.softmax(scores.view(batch, -1, self._num_heads, bias.size(3)).add_(bias), dim=-1)
        output = torch.baddbmm(self._attention.output_projection.bias, weights.view(batch, -1, size), memory.values)
        if not need_weights:
            return output.view_as(x), None
        of_tokens = weights.view(*x.shape[:2], *weights.shape[2:])  # [rows, tgt_len, heads, src_len]
        return output.view_as(x), of_tokens.transpose(1, 2)
