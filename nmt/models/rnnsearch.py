"""RNNsearch: a recurrent decoder that learns to align and translate jointly (Bahdanau et al. 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.alignments import make_alignment
from nmt.attention.contract import SourceAttention
from nmt.attention.scores import make_score
from nmt.config.models import RnnSearchConfig
from nmt.models.cells import make_cell
from nmt.models.contract import Decoded, Encoded, NeedWeights, State, first_position, positions_after
from nmt.models.dropout import make_dropout
from nmt.models.recurrent import AddsLosses, MaxoutOutput, shown


class RnnSearchMemory(NamedTuple):
    """The encoded source as the decoder reads it."""

    attention: Any  # the memory of the attention
    first: Tensor  # [batch, hidden], s_0
    mask: Tensor  # [batch, src_len] bool, True = may attend


class RnnSearchDecoder(AddsLosses):
    """A decoder that attends with s_{i-1}; recurrence and output read the context (Bahdanau et al. 2015, A.2.2).

    In its State, `layers` is the cell's state and `own` that of attention.
    """

    attends = True
    self_attends = False
    reads_layers = False

    def __init__(self, config: RnnSearchConfig, embedding: nn.Embedding) -> None:
        super().__init__(config)
        states_dim = 2 * config.hidden_dim  # the encoder's two directions side by side
        self.embedding = embedding
        self.dropout = make_dropout(config)
        self.state_projection = nn.Linear(config.hidden_dim, config.hidden_dim)
        score = make_score(config, config.hidden_dim, states_dim, config.attention_dim)
        self.attention = make_alignment(config, score, states_dim)
        self.cell = make_cell(config.cell, config.embedding_dim, states_dim, config.hidden_dim)
        self.output = MaxoutOutput(config.hidden_dim + config.embedding_dim + states_dim, config.maxout_dim)

    def source_attention(self) -> SourceAttention:
        return self.attention

    def read(self, encoded: Encoded) -> RnnSearchMemory:
        """Compute the keys of all source states, and s_0 = tanh(W_s h_1) from the backward state at the first word."""
        backward = encoded.final[0][:, -1].chunk(2, dim=-1)[1]
        first = torch.tanh(self.state_projection(backward))
        return RnnSearchMemory(self.attention.read(encoded), first, encoded.mask)

    def init_state(self, memory: RnnSearchMemory, max_len: int) -> State:
        """Return the state before the first token, made of s_0."""
        recurrent = self.cell.start(memory.first)
        return State(first_position(memory.first), self.attention.init_state(memory.attention), (recurrent,))

    def forward(
        self, tokens: Tensor, memory: RnnSearchMemory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        embedded = self.dropout(self.embedding(tokens))
        positions = positions_after(state, tokens)
        # time loop: attention to the source for alpha_i and c_i from s_{i-1}, then s_i
        before = self.init_state(memory, tokens.size(1)) if state is None else state
        attention_state, (recurrent,) = before.own, before.layers
        attend = self.attention.over(memory.attention, need_weights=True)
        previous, contexts, answers = [], [], []
        for i, projected in enumerate(self.cell.project(embedded).unbind(dim=1)):
            s = recurrent[0]
            attended = attend(s.unsqueeze(1), positions[:, i : i + 1], attention_state)
            attention_state = attended.state
            previous.append(s)
            contexts.append(attended.context.squeeze(1))
            answers.append(attended)
            recurrent = self.cell(projected, contexts[-1], recurrent)
        # maxout output: t_i from s_{i-1}, the previous word and c_i
        hidden = self.output(torch.stack(previous, dim=1), embedded, torch.stack(contexts, dim=1))
        decoded = Decoded(
            self.dropout(hidden), shown(answers) if need_weights else None, losses=self.losses(answers, memory.mask)
        )
        return decoded, None if state is None else State(state.position + tokens.size(1), attention_state, (recurrent,))
