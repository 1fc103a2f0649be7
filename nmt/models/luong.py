"""Luong's model: global attention from the current decoder state, with or without input feeding (Luong et al. 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.alignments import make_alignment
from nmt.attention.contract import SourceAttention
from nmt.attention.scores import make_score
from nmt.config.models import LuongConfig
from nmt.models.cells import Cell, Layered, make_cell
from nmt.models.contract import Decoded, Encoded, NeedWeights, State, first_position, positions_after
from nmt.models.dropout import Drop, make_dropout
from nmt.models.recurrent import AddsLosses, by_layer, shown
from nmt.models.sequences import run_rnn
from nmt.models.stack import Connection, make_stack


class LuongMemory(NamedTuple):
    """The encoded source as the decoder reads it."""

    attention: Any  # the memory of the attention
    first: Layered  # the encoder's last state, from which the decoder starts
    mask: Tensor  # [batch, src_len] bool, True = may attend


class AttentionalOutput(nn.Module):
    """Attention and the attentional hidden state h~_t = tanh(W_c [c_t; h_t]) (Luong et al. 2015, eq. 5)."""

    def __init__(self, config: LuongConfig) -> None:
        super().__init__()
        score = make_score(config, config.hidden_dim, config.hidden_dim, config.hidden_dim)
        self.attention = make_alignment(config, score, config.hidden_dim)
        self.projection = nn.Linear(2 * config.hidden_dim, config.hidden_dim, bias=False)

    def forward(self, context: Tensor, h: Tensor) -> Tensor:
        """Return h~ [..., hidden] for context [..., hidden] and h [..., hidden]."""
        return torch.tanh(self.projection(torch.cat((context, h.to(context.dtype)), dim=-1)))


class _LuongDecoder(AddsLosses):
    """The common base of the decoders with and without input feeding."""

    attends = True
    self_attends = False
    reads_layers = False

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config)
        self.embedding = embedding
        self.dropout = make_dropout(config)
        self.output = AttentionalOutput(config)

    def source_attention(self) -> SourceAttention:
        return self.output.attention

    def read(self, encoded: Encoded) -> LuongMemory:
        """Compute the keys of all source states; each layer starts from the encoder's last state of that layer."""
        return LuongMemory(self.output.attention.read(encoded), by_layer(encoded.final), encoded.mask)


class PlainDecoder(_LuongDecoder):
    """The decoder without input feeding.

    Its RNN does not read the output of attention, so that all target positions take one RNN call and one call of
    attention. In its State, `layers` is the RNN's state and `own` that of attention.
    """

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        self.rnn = make_stack(config, config.embedding_dim, config.hidden_dim, [1] * config.layers)

    def init_state(self, memory: LuongMemory, max_len: int) -> State:
        """Return the state before the first token, made of the encoder's last state."""
        return State(first_position(memory.mask), self.output.attention.init_state(memory.attention), memory.first)

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        positions = positions_after(state, tokens)
        before = self.init_state(memory, tokens.size(1)) if state is None else state
        # embeddings and hidden states h_t
        h, layers = run_rnn(self.rnn, self.dropout(self.embedding(tokens)), before.layers)
        h = self.dropout(h)
        # attention to the source: contexts c_t
        attended = self.output.attention.over(memory.attention, need_weights=True)(h, positions, before.own)
        # attentional hidden states h~_t; in a mixture, one for each context
        if attended.mixture is not None:
            h = h.unsqueeze(2).expand_as(attended.context)
        hidden = self.dropout(self.output(attended.context, h))
        weights = shown([attended]) if need_weights else None
        decoded = Decoded(hidden, weights, attended.mixture, self.losses([attended], memory.mask))
        return decoded, None if state is None else State(state.position + tokens.size(1), attended.state, layers)


class FeedingState(NamedTuple):
    """The state of the decoder that belongs to no layer."""

    fed: Tensor  # [rows, hidden], the attentional hidden state that is fed to the next step
    attention: Any  # the state of the attention


class FeedingDecoder(_LuongDecoder):
    """The decoder with input feeding: each step reads the token and h~_{t-1} (Luong et al. 2015, section 3.3).

    Attention therefore runs inside the time loop, one step after the other.
    """

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        hidden = config.hidden_dim
        self.first_cell = make_cell(config.cell, config.embedding_dim, hidden, hidden)
        self.upper_cells = nn.ModuleList(make_cell(config.cell, hidden, 0, hidden) for _ in range(config.layers - 1))
        self.connections = nn.ModuleList(Connection(config, hidden) for _ in self.upper_cells)

    def init_state(self, memory: LuongMemory, max_len: int) -> State:
        """Return the state before the first token: the encoder's last state, and zeros to feed to the first step."""
        own = FeedingState(torch.zeros_like(memory.first[0][0]), self.output.attention.init_state(memory.attention))
        return State(first_position(memory.mask), own, memory.first)

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        embedded = self.dropout(self.embedding(tokens))
        positions = positions_after(state, tokens)
        # time loop: h_t from the token and h~_{t-1}, then attention to the source for c_t, then h~_t
        before = self.init_state(memory, tokens.size(1)) if state is None else state
        (fed, attention_state), layers = before.own, before.layers
        attend = self.output.attention.over(memory.attention, need_weights=True)
        drops = [self.dropout.for_steps(fed) for _ in layers]
        hidden, answers = [], []
        for t, projected in enumerate(self.first_cell.project(embedded).unbind(dim=1)):
            h, layers = self._step(projected, fed, layers, drops)
            h = drops[-1](h).unsqueeze(1)
            attended = attend(h, positions[:, t : t + 1], attention_state)
            attention_state = attended.state
            fed = self.output(attended.context, h).squeeze(1)
            hidden.append(fed)
            answers.append(attended)
        decoded = Decoded(
            self.dropout(torch.stack(hidden, dim=1)),
            shown(answers) if need_weights else None,
            losses=self.losses(answers, memory.mask),
        )
        if state is None:
            return decoded, None
        return decoded, State(state.position + tokens.size(1), FeedingState(fed, attention_state), layers)

    def _step(self, projected: Tensor, fed: Tensor, layers: Layered, drops: list[Drop]) -> tuple[Tensor, Layered]:
        """Run all layers for one step; the first reads projected [rows, gates * hidden] and fed [rows, hidden].

        drops[i] is the dropout between layers i and i + 1. Return h_t and the next state.
        """
        now = [self.first_cell(projected, fed, layers[0])]
        h: Tensor = now[0][0]
        cells, connections = cast(list[Cell], self.upper_cells), cast(list[Connection], self.connections)
        for cell, connection, drop, state in zip(cells, connections, drops[:-1], layers[1:], strict=True):
            now.append(cell(cell.project(drop(connection.enter(h))), None, state))
            h = connection.leave(h, now[-1][0])
        return h, tuple(now)
