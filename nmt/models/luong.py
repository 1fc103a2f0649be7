"""Global attention on the decoder's present state, with or without input feeding (Luong et al. 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.alignments import make_alignment
from nmt.attention.contract import SourceAttention
from nmt.attention.scores import make_score
from nmt.config.models import LuongConfig
from nmt.models.contract import Decoded, Encoded, State, first_position, positions_after
from nmt.models.recurrent import AddsLosses, Cell, by_layer, make_cell, shown, whole_sequence_rnn
from nmt.models.sequences import CellState, Layered, run_rnn


class LuongMemory(NamedTuple):
    """What the decoder keeps of a source sentence."""

    attention: Any
    first: Layered  # the encoder's last state
    mask: Tensor  # [batch, src_len]


class AttentionalOutput(nn.Module):
    """h~_t = tanh(W_c [c_t; h_t]) (Luong et al. 2015, eq. 5)."""

    def __init__(self, config: LuongConfig) -> None:
        super().__init__()
        score = make_score(config.score, config.hidden_dim, config.hidden_dim, config.hidden_dim)
        self.attention = make_alignment(config, score, config.hidden_dim)
        self.projection = nn.Linear(2 * config.hidden_dim, config.hidden_dim, bias=False)

    def forward(self, context: Tensor, h: Tensor) -> Tensor:
        """Return h~ [..., hidden] of contexts and h [..., hidden]."""
        return torch.tanh(self.projection(torch.cat((context, h.to(context.dtype)), dim=-1)))


class _LuongDecoder(AddsLosses):
    attends = True
    self_attends = False
    reads_layers = False

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config)
        self.embedding = embedding
        self.dropout = nn.Dropout(config.dropout)
        self.output = AttentionalOutput(config)

    def source_attention(self) -> SourceAttention:
        return self.output.attention

    def read(self, encoded: Encoded) -> LuongMemory:
        """Compute keys of all states; the decoder starts from the encoder's last state, layer by layer."""
        return LuongMemory(self.output.attention.read(encoded), by_layer(encoded.final), encoded.mask)


class PlainDecoder(_LuongDecoder):
    """Without input feeding the recurrence needs no attention: one RNN call, then one attention, over all steps.

    Its state is that of the RNN's layers, with that of attention for its own.
    """

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        self.rnn = whole_sequence_rnn(
            config.cell, config.embedding_dim, config.hidden_dim, config.layers, config.dropout
        )

    def init_state(self, memory: LuongMemory, max_len: int) -> State:
        """Return the encoder's last state."""
        return State(first_position(memory.mask), self.output.attention.init_state(memory.attention), memory.first)

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: State | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        positions = positions_after(state, tokens)
        before = self.init_state(memory, tokens.size(1)) if state is None else state
        # states h_t
        h, layers = run_rnn(self.rnn, self.dropout(self.embedding(tokens)), before.layers)
        h = self.dropout(h)
        # contexts c_t
        attended = self.output.attention.over(memory.attention, need_weights=True)(h, positions, before.own)
        # attentional hidden states h~_t; of a mixture, one for each of its contexts
        if attended.mixture is not None:
            h = h.unsqueeze(2).expand_as(attended.context)
        hidden = self.dropout(self.output(attended.context, h))
        weights = shown([attended]) if need_weights else None
        decoded = Decoded(hidden, weights, attended.mixture, self.losses([attended], memory.mask))
        return decoded, None if state is None else State(state.position + tokens.size(1), attended.state, layers)


class FeedingState(NamedTuple):
    """What the decoder carries itself."""

    fed: Tensor  # [rows, hidden], the attentional hidden state that is fed to the next step
    attention: Any


class FeedingDecoder(_LuongDecoder):
    """The attentional hidden state is fed to the next step beside its token (Luong et al. 2015, section 3.3)."""

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        hidden = config.hidden_dim
        self.first_cell = make_cell(config.cell, config.embedding_dim, hidden, hidden)
        self.upper_cells = nn.ModuleList(make_cell(config.cell, hidden, 0, hidden) for _ in range(config.layers - 1))

    def init_state(self, memory: LuongMemory, max_len: int) -> State:
        """Return the encoder's last state; nothing is fed to the first step."""
        own = FeedingState(torch.zeros_like(memory.first[0][0]), self.output.attention.init_state(memory.attention))
        return State(first_position(memory.mask), own, memory.first)

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: State | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        embedded = self.dropout(self.embedding(tokens))
        positions = positions_after(state, tokens)
        # the time loop: h_t from the token and h~_{t-1}, then c_t and h~_t
        before = self.init_state(memory, tokens.size(1)) if state is None else state
        (fed, attention_state), layers = before.own, before.layers
        attend = self.output.attention.over(memory.attention, need_weights=True)
        hidden, answers = [], []
        for t, projected in enumerate(self.first_cell.project(embedded).unbind(dim=1)):
            layers = self._step(projected, fed, layers)
            h = self.dropout(layers[-1][0]).unsqueeze(1)
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

    def _step(self, projected: Tensor, fed: Tensor, layers: Layered) -> Layered:
        """Take one step through all layers: projected [rows, gates * hidden] enters the first with what is fed."""
        now: list[CellState] = [self.first_cell(projected, fed, layers[0])]
        for cell, state in zip(self._cells()[1:], layers[1:], strict=True):
            below = self.dropout(now[-1][0])
            now.append(cell(cell.project(below), None, state))
        return tuple(now)

    def _cells(self) -> list[Cell]:
        return [self.first_cell, *cast(list[Cell], self.upper_cells)]
