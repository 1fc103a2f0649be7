"""Self-attention whose scores do not compare pairs of words (Tay et al. 2021, Synthesizer)."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention import patterns
from nmt.attention.contract import Mixer
from nmt.attention.multihead import merge_heads, split_heads
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Values(NamedTuple):
    """The state of a synthesizer: the values of the first positions, which alone have scores. There are no keys."""

    values: Tensor  # [rows, heads, min(length, max_length), head_dim]
    read: Tensor  # [rows, length, 0]: an empty tensor, whose size is the number of positions so far


class Synthesizer(Mixer):
    """Multi-head attention Y = softmax(B) G(X) whose scores B are synthesised, without queries and keys.

    G is the projection to values. Padding, and in a decoder later positions, are left out of the softmax. There are
    scores for the first max_length positions. Later words are ignored, as in `LocationScore`: no word attends to them.
    """

    def __init__(
        self, model_dim: int, num_heads: int, max_length: int, causal: bool, dropout: float, normaliser: Normaliser
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.max_length = max_length
        self.causal = causal
        self.dropout = nn.Dropout(dropout)
        self.normaliser = normaliser
        self.value_projection = nn.Linear(model_dim, model_dim)  # G
        self.output_projection = nn.Linear(model_dim, model_dim)

    @abstractmethod
    def scores(self, x: Tensor, start: int) -> Tensor:
        """Return the scores B [rows or 1, heads, length, max_length] of x [rows, length, dim].

        The columns are the first positions of the sentence; the first row is that of position `start`, from 0.
        """

    def init_state(self, rows: int, like: Tensor) -> Values:
        head_dim = self.output_projection.in_features // self.num_heads
        return Values(like.new_empty(rows, self.num_heads, 0, head_dim), like.new_empty(rows, 0, 0))

    def state_bytes(self, length: int) -> int:
        return 4 * min(length, self.max_length) * self.output_projection.in_features

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: Values | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, Values | None, Tensor | None]:
        (values,) = split_heads(self.value_projection(x), 1, self.num_heads)
        start = 0 if state is None else state.read.size(1)
        length = start + x.size(1)
        if state is not None:
            values = torch.cat((state.values.to(values.dtype), values), dim=2)
            state = Values(values[:, :, : self.max_length], state.read.new_empty(x.size(0), length, 0))
        # scores of the positions within the maximum length
        seen = min(length, self.max_length)
        scores = self.scores(x, start)[..., :seen]
        # weights
        bias = None
        if mask is not None:
            bias = patterns.padding(mask[:, :seen])
        elif self.causal:
            at = torch.arange(length, device=x.device).unsqueeze(0)
            bias = patterns.causal(at[:, start:], at[:, :seen])
        weights = self.normaliser(scores, bias).expand(x.size(0), -1, -1, -1)  # dropout differs in each sentence
        # contexts
        context = self.dropout(weights).to(values.dtype) @ values[:, :, :seen]
        output = self.output_projection(self.normaliser.of_context(merge_heads(context)))
        shown = pad(weights, (0, length - seen)) if need_weights else None
        return output, state, shown


def common_parts(config: TransformerConfig, place: Place) -> tuple[bool, float, Normaliser]:
    """Return what all synthesizers of a layer need: whether it is causal, its dropout and its normaliser."""
    return place.causal, config.attention_dropout, make_normaliser(config, config.num_heads, config.model_dim)
