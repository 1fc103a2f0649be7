"""Attention over the source in searches of few sentences, whose keys and values absorb the maps around it."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from nmt.attention.joined_cache import FEW_SENTENCES
from nmt.attention.multihead import CrossAttention, Source, split_heads


class Absorbed(NamedTuple):
    """What attention looks at, by heads and positions."""

    keys: Tensor  # [batch, dim, heads * src_len]: products with them are scores
    values: Tensor  # [batch, heads * src_len, dim]: weighted, they sum to the output
    bias: Tensor  # [batch, 1, heads * src_len], of the scores
    offset: Tensor  # [batch, 1, dim], of the output

    def attended(self, x: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
        """The output [batch, queries, dim] for queries x of that shape, and the weights [queries, heads, src_len].

        Of a batch, the queries to all of its sentences are one after the other.
        """
        scores = torch.baddbmm(self.bias, x, self.keys)
        weights = torch.softmax(scores.view(-1, num_heads, scores.size(2) // num_heads), dim=-1)
        return torch.baddbmm(self.offset, weights.view_as(scores), self.values), weights


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

    def read(self, states: Tensor, bias: Tensor) -> Source | Absorbed:
        """See `CrossAttention.read`."""
        attention = self._attention
        batch, src_len, dim = states.shape
        if batch > FEW_SENTENCES or src_len * self._num_heads > dim or torch.is_autocast_enabled(states.device.type):
            return attention.read(states, bias)
        key, value = split_heads(attention.kv_projection(states), 2, self._num_heads)
        key = key * (1 / math.sqrt(key.size(3)))
        query, output = attention.query_projection, attention.output_projection
        by_heads = (self._num_heads, -1)
        return Absorbed(
            keys=(key @ query.weight.unflatten(0, by_heads)).flatten(1, 2).mT,
            values=(value @ output.weight.t().unflatten(0, by_heads)).flatten(1, 2),
            bias=((key @ query.bias.view(*by_heads, 1)).mT + bias).view(batch, 1, -1),
            offset=output.bias.expand(batch, 1, -1),
        )

    def __call__(
        self, x: Tensor, memory: Source | Absorbed, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """See `CrossAttention.forward`."""
        if isinstance(memory, Source):
            return cast("tuple[Tensor, Tensor | None]", self._attention(x, memory, need_weights))
        output, weights = memory.attended(x.view(memory.bias.size(0), -1, x.size(2)), self._num_heads)
        if not need_weights:
            return output.view_as(x), None
        return output.view_as(x), weights.view(*x.shape[:2], *weights.shape[1:]).transpose(1, 2)
