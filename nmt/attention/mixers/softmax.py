"""Multi-head self-attention (Vaswani et al. 2017, section 3.2), with all keys or those of a pattern."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention.contract import Mixer
from nmt.attention.heads import Heads, make_head_normaliser, make_heads
from nmt.attention.multihead import attention_weights
from nmt.attention.normalisers import Normaliser, Softmax
from nmt.attention.patterns import Everything, Pattern, causal, padding
from nmt.attention.positions import Positions, make_positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.kernels import flex
from nmt.kernels.scaled_dot_product import attention
from nmt.kernels.windowed import pays, windowed_attention


class KeysValues(NamedTuple):
    """The state of self-attention: the keys and values of all positions so far that may be needed again."""

    keys: Tensor  # [rows, num_kv_heads, length, head_dim]
    values: Tensor  # [rows, num_kv_heads, length, head_dim]
    forgotten: Tensor  # [rows, number of earlier positions, 0]: no numbers, only a size


class SelfAttention(Mixer):
    """Attention among the positions of one sequence. A single projection computes queries, keys and values."""

    def __init__(
        self,
        model_dim: int,
        heads: Heads,
        positions: Positions,
        causal: bool = False,
        dropout: float = 0.0,
        normaliser: Normaliser | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        """Create the attention; without a normaliser it has a softmax, and without a pattern it is full attention."""
        super().__init__()
        self.heads = heads
        self.positions = positions
        self.causal = causal
        self.dropout = nn.Dropout(dropout)
        self.normaliser = normaliser or Softmax()
        self.pattern = pattern or Everything()
        self.qkv_projection = nn.Linear(model_dim, heads.dim + 2 * heads.kv_dim)
        self.output_projection = nn.Linear(heads.dim, model_dim)

    def init_state(self, rows: int, like: Tensor) -> KeysValues:
        empty = like.new_empty(rows, self.heads.num_kv_heads, 0, self.heads.head_dim)
        return KeysValues(empty, empty, like.new_empty(rows, 0, 0))

    def state_bytes(self, length: int) -> int:
        remembered = length if self.pattern.reach is None else min(length, self.pattern.reach)
        return 2 * 4 * remembered * self.heads.kv_dim

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
        heads = self.heads
        query, key, value = heads.queries_keys_values(self.qkv_projection(x))
        query, key = self.positions.turn(query, positions), self.positions.turn(key, positions)
        forgotten = 0 if state is None else state.forgotten.size(1)
        if state is not None:
            key = torch.cat((state.keys.to(key.dtype), key), dim=2)
            value = torch.cat((state.values.to(value.dtype), value), dim=2)
            state = self._remembered(key, value, state.forgotten)
        kernel = "dense" if need_weights or state is not None else self._kernel(query)
        if kernel != "dense":
            make_context = self._flex_context if kernel == "flex" else self._local_context
            return self._output(make_context(query, key, value, positions, mask)), None, None
        key, value = heads.shared(key), heads.shared(value)
        # bias on the scores
        key_positions = last_positions(positions, key.size(2))
        hides_future = self.causal and x.size(1) > 1  # a single new position may attend to all positions so far
        bias = self._bias(query, key, positions, key_positions, mask)
        fused_causal = hides_future and bias is None and state is None  # torch has a kernel for causality alone
        if hides_future and not fused_causal:
            bias = _sum([bias, causal(positions, key_positions)])
        # weights, which the fused kernel does not return
        weights = None
        explicit = self.positions.changes_values or not self.normaliser.fused
        if need_weights or explicit:
            full_bias = causal(positions, key_positions) if fused_causal else bias
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
        output = self._output(context)
        if not need_weights:
            return output, state, None
        assert weights is not None
        # positions that had been forgotten before this call have weights of zero
        return output, state, pad(heads.numbered(weights), (forgotten, 0))

    def _output(self, context: Tensor) -> Tensor:
        """Return the output [rows, length, model_dim] of the heads' contexts [rows, heads, length, head_dim]."""
        output: Tensor = self.output_projection(self.normaliser.of_context(self.heads.merge(context)))
        return output

    def _kernel(self, query: Tensor) -> Literal["dense", "windowed", "flex"]:
        """Choose how the contexts of whole sequences are computed if no weights are asked for.

        All ways give the same. `dense` compares all queries with all keys, and is the definition. The others skip keys
        that the pattern hides. They have torch's softmax and no place for weights or biases, and therefore cannot
        compute other normalisers, positions that enter scores or values (ALiBi, T5, Shaw), or patterns that prefer some
        keys (Gaussians, adaptive spans). `flex` has no dropout of weights; `windowed` needs a pattern whose keys
        are near, but for a few.
        """
        length, head_dim = query.shape[2:]
        pattern, positions = self.pattern, self.positions
        plain = self.normaliser.fused and not positions.enters_scores and not positions.changes_values
        if not (plain and pattern.restricts and pattern.only_allows):
            return "dense"
        dropped = self.training and self.dropout.p > 0
        if not dropped and flex.pays(query.device, query.dtype, length, head_dim):
            return "flex"
        near, far = pattern.near, partial(pattern.far, length=None)
        return "windowed" if near is not None and pays(length, near, far, pattern.first) else "dense"

    def _flex_context(
        self, query: Tensor, key: Tensor, value: Tensor, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the contexts [rows, heads, length, head_dim] of a sequence, for a pattern on a GPU."""
        allows, name = self.pattern.allows, self.pattern.name
        return flex.pattern_attention(query, key, value, positions, allows, name, mask=mask, causal=self.causal)

    def _local_context(
        self, query: Tensor, key: Tensor, value: Tensor, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the contexts [rows, heads, length, head_dim] of a sequence, for a pattern whose keys are near."""
        pattern = self.pattern
        assert pattern.near is not None
        lengths = None if mask is None else mask.sum(dim=1)[:, None, None]
        return windowed_attention(
            query,
            self.heads.shared(key),
            self.heads.shared(value),
            positions,
            lambda i, j: pattern.allows(i, j, None if lengths is None else lengths.unsqueeze(3)),
            reach=pattern.near,
            far=lambda i: pattern.far(i, lengths),
            first=pattern.first,
            mask=mask,
            causal=self.causal,
            dropout=self.dropout.p,
            training=self.training,
        )

    def _bias(
        self, query: Tensor, key: Tensor, positions: Tensor, key_positions: Tensor, mask: Tensor | None
    ) -> Tensor | None:
        """Return the sum of the biases of positions, pattern and padding, or None if there is none of them."""
        terms: list[Tensor | None] = []
        given = (query, key, positions, key_positions, None if mask is None else mask.sum(dim=1))
        if self.positions.enters_scores:
            terms.append(self.positions.bias(*given))
        if self.pattern.restricts:
            bias = self.pattern.bias(*given)
            # a query that is padding could see nothing at all within its pattern, and its context would be undefined
            terms.append(bias if mask is None else torch.where(mask[:, None, :, None], bias, 0.0))
        if mask is not None:
            terms.append(padding(mask))
        return _sum(terms)

    def _remembered(self, key: Tensor, value: Tensor, forgotten: Tensor) -> KeysValues:
        """Return the keys and values that later positions may need."""
        if self.pattern.reach is None:
            return KeysValues(key, value, forgotten)
        first = max(0, key.size(2) - self.pattern.reach)
        forgotten = forgotten.new_empty(forgotten.size(0), forgotten.size(1) + first, 0)
        return KeysValues(key[:, :, first:], value[:, :, first:], forgotten)


def make(config: TransformerConfig, place: Place, pattern: Pattern | None = None) -> SelfAttention:
    """Return the self-attention of one layer, with a pattern if there is one."""
    heads, positions = make_heads(config, place), make_positions(config, place)
    positions.keep_heads(heads.numbers)
    return SelfAttention(
        config.model_dim,
        heads,
        positions,
        place.causal,
        config.attention_dropout,
        make_head_normaliser(config, place),
        pattern,
    )


def last_positions(positions: Tensor, keys: int) -> Tensor:
    """Return the positions [rows or 1, keys] of all keys, given the positions [rows or 1, queries] of the last ones."""
    if positions.size(1) == keys:
        return positions
    return positions[:, -1:] + torch.arange(1 - keys, 1, device=positions.device)


def _sum(terms: list[Tensor | None]) -> Tensor | None:
    """Return the sum of all terms that are not None, or None if there are none."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], start=present[0]) if present else None
