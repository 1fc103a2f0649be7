"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), as self-attention and over an encoder's states.

Keys and values are one tensor, [rows, heads, 2, length, head_dim], so that one copy moves both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.kernels import full_attention, full_attention_weights


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

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encoder side: x [batch, length, dim], mask [batch, length] bool, True = may attend."""
        query, key, value = self._project(x).unbind(2)
        context = full_attention(query, key, value, mask=mask[:, None, None, :], dropout=self._dropout())
        return self._output(context)

    def decode(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decoder side: x [rows, length, dim] sees `past` and, causally, itself.

        The keys and values of the past and of x are handed on.
        """
        projected = self._project(x)
        query, now = projected[:, :, 0], projected[:, :, 1:]
        if past is None:
            context = full_attention(query, *now.unbind(2), causal=True, dropout=self._dropout())
            return self._output(context), now
        now = torch.cat((past, now), dim=3)
        mask = None
        if x.size(1) > 1:  # a forced prefix after a past: query i is at position past + i
            total, length = now.size(3), x.size(1)
            mask = torch.ones(length, total, dtype=torch.bool, device=x.device).tril(total - length)
        return self._output(full_attention(query, *now.unbind(2), mask=mask)), now

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

    def read(self, states: Tensor) -> Tensor:
        """Keys and values [batch, heads, 2, src_len, head_dim] of the encoder's states [batch, src_len, dim]."""
        memory = split_heads(self.kv_projection(states), 2, self.num_heads)
        return memory if self.training else memory.contiguous()  # a search reads it at every step

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [rows, tgt_len, dim] -> the same shape, and weights [rows, heads, tgt_len, src_len] when asked for.

        memory is what `read` made and mask is [batch, src_len]. rows is a multiple of the memory's rows: the hypotheses
        of a sentence become further queries to it.
        """
        rows, tgt_len, dim = x.shape
        query = split_heads(self.query_projection(x).view(mask.size(0), -1, dim), 1, self.num_heads)[:, :, 0]
        key, value = memory.unbind(2)
        mask = mask[:, None, None, :]  # [batch, 1, 1, src_len]
        context = full_attention(query, key, value, mask=mask, dropout=self.dropout if self.training else 0.0)
        output = self.output_projection(merge_heads(context).view(rows, tgt_len, dim))
        if not need_weights:
            return output, None
        weights = full_attention_weights(query, key, mask=mask)  # [batch, heads, beam * tgt_len, src_len]
        weights = weights.unflatten(2, (-1, tgt_len)).transpose(1, 2).flatten(0, 1)
        return output, weights
