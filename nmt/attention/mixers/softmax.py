"""Multi-head self-attention (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention import patterns
from nmt.attention.contract import Mixer
from nmt.attention.multihead import attention_weights, merge_heads, split_heads
from nmt.attention.normalisers import Normaliser, Softmax, make_normaliser
from nmt.attention.positions import Positions, make_positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.kernels.scaled_dot_product import attention


class KeysValues(NamedTuple):
    """The state of self-attention: the keys and values of all positions so far."""

    keys: Tensor  # [rows, heads, length, head_dim]
    values: Tensor  # [rows, heads, length, head_dim]


class SelfAttention(Mixer):
    """Attention among the positions of one sequence. A single projection computes queries, keys and values."""

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        positions: Positions,
        causal: bool = False,
        dropout: float = 0.0,
        normaliser: Normaliser | None = None,
    ) -> None:
        """Create the attention; without a normaliser it has a softmax."""
        super().__init__()
        self.num_heads = num_heads
        self.positions = positions
        self.causal = causal
        self.dropout = nn.Dropout(dropout)
        self.normaliser = normaliser or Softmax()
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def init_state(self, rows: int, like: Tensor) -> KeysValues:
        head_dim = self.output_projection.in_features // self.num_heads
        empty = like.new_empty(rows, self.num_heads, 0, head_dim)
        return KeysValues(empty, empty)

    def state_bytes(self, length: int) -> int:
        return 2 * 4 * length * self.output_projection.in_features

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: KeysValues | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, KeysValues | None, Tensor | None]:
        assert mask is None or state is None, "a mask cannot be combined with a state"
        # queries, keys and values
        query, key, value = split_heads(self.qkv_projection(x), 3, self.num_heads)
        query, key = self.positions.turn(query, positions), self.positions.turn(key, positions)
        if state is not None:
            key = torch.cat((state.keys.to(key.dtype), key), dim=2)
            value = torch.cat((state.values.to(value.dtype), value), dim=2)
            state = KeysValues(key, value)
        # bias on the scores: positions, padding and causality
        hides_future = self.causal and x.size(1) > 1  # a single new position may attend to all positions so far
        only_causal = state is None and mask is None and not self.positions.enters_scores
        fused_causal = hides_future and only_causal  # torch has a kernel for causality without any other bias
        terms, key_positions = [], positions
        if hides_future or self.positions.enters_scores or self.positions.changes_values:
            key_positions = _last_positions(positions, key.size(2))
        if self.positions.enters_scores:
            src_lengths = None if mask is None else mask.sum(dim=1)
            terms.append(self.positions.bias(query, key, positions, key_positions, src_lengths))
        if mask is not None:
            terms.append(patterns.padding(mask))
        if hides_future and not fused_causal:
            terms.append(patterns.causal(positions, key_positions))
        bias = _sum(terms)
        # weights, which the fused kernel does not return
        weights = None
        explicit = self.positions.changes_values or not self.normaliser.fused
        if need_weights or explicit:
            full_bias = patterns.causal(positions, key_positions) if fused_causal else bias
            weights = attention_weights(query, key, full_bias, self.normaliser)
        # contexts
        if explicit:
            assert weights is not None
            dropped = self.dropout(weights).to(value.dtype)
            context = dropped @ value + self.positions.of_values(dropped, positions, key_positions)
        else:
            context = attention(
                query, key, value, bias=bias, causal=fused_causal, dropout=self.dropout.p, training=self.training
            )
        context = self.normaliser.of_context(merge_heads(context))
        return self.output_projection(context), state, weights if need_weights else None


def make(config: TransformerConfig, place: Place) -> SelfAttention:
    """Return the self-attention of one layer."""
    return SelfAttention(
        config.model_dim,
        config.num_heads,
        make_positions(config),
        place.causal,
        config.attention_dropout,
        make_normaliser(config, config.num_heads, config.model_dim),
    )


def _last_positions(positions: Tensor, keys: int) -> Tensor:
    """Return the positions [rows or 1, keys] of all keys, given the positions [rows or 1, queries] of the last ones."""
    if positions.size(1) == keys:
        return positions
    return positions[:, -1:] + torch.arange(1 - keys, 1, device=positions.device)


def _sum(terms: list[Tensor | None]) -> Tensor | None:
    """Return the sum of all terms that are not None, or None if there are none."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], start=present[0]) if present else None
