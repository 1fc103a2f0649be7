"""RNNsearch: the decoder that learns to align (Bahdanau et al. 2015)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.alignment import AttentionMemory, SoftAlignment
from nmt.attention.score import AdditiveScore, GeneralScore, Score
from nmt.config.models import RnnSearchConfig
from nmt.models.dropout import Dropout
from nmt.models.recurrent import MaxoutOutput, make_cell
from nmt.models.seq2seq import Decoded, Encoded
from nmt.models.unrolled import Layered


class RnnSearchMemory(NamedTuple):
    """What the decoder keeps of a source sentence."""

    attention: AttentionMemory
    first: Tensor  # [batch, hidden], s_0


class RnnSearchState(NamedTuple):
    """The decoder's recurrent state s."""

    recurrent: Layered  # [rows, hidden] each


class RnnSearchDecoder(nn.Module):
    """Attends with s[t-1]; the context enters the recurrence and the maxout output (Bahdanau et al. 2015, A.2.2)."""

    attends = True
    self_attends = False

    def __init__(self, config: RnnSearchConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        states_dim = 2 * config.hidden_dim  # the encoder's two directions side by side
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.state_projection = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.attention = SoftAlignment(_score(config, states_dim))
        self.cell = make_cell(config.cell, config.embedding_dim, states_dim, config.hidden_dim)
        self.output = MaxoutOutput(config.hidden_dim + config.embedding_dim + states_dim, config.maxout_dim)

    def read(self, encoded: Encoded) -> RnnSearchMemory:
        """Keys of all states, and s_0 = tanh(W_s h_1) from the backward direction's state at the first word."""
        backward = encoded.final[0][:, -1].chunk(2, dim=-1)[1]
        first = torch.tanh(self.state_projection(backward))
        return RnnSearchMemory(self.attention.read(encoded.states, encoded.mask), first)

    def init_state(self, memory: RnnSearchMemory, max_len: int) -> RnnSearchState:
        """s_0; an LSTM's cell starts at zero."""
        return RnnSearchState((memory.first, torch.zeros_like(memory.first))[: self.cell.leaves])

    def forward(
        self,
        tokens: Tensor,
        memory: RnnSearchMemory,
        state: RnnSearchState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Decoded, RnnSearchState | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.seq2seq.Decoder`."""
        embedded = self.dropout(self.embedding(tokens))
        recurrent = (self.init_state(memory, tokens.size(1)) if state is None else state).recurrent
        attend, step = self.attention.over(memory.attention), self.cell.steps()
        previous, contexts, weights = [], [], []
        for projected in self.cell.project(embedded).unbind(dim=1):
            s = recurrent[0]
            context, step_weights = attend(s.unsqueeze(1))
            previous.append(s)
            contexts.append(context.squeeze(1))
            weights.append(step_weights)
            recurrent = step(projected, contexts[-1], recurrent)
        hidden = self.output(torch.stack(previous, dim=1), embedded, torch.stack(contexts, dim=1))
        shown = torch.cat(weights, dim=1)[:, None, None] if need_weights else None
        return Decoded(self.dropout(hidden), shown), None if state is None else RnnSearchState(recurrent)


def _score(config: RnnSearchConfig, states_dim: int) -> Score:
    if config.score == "general":
        return GeneralScore(config.hidden_dim, states_dim)
    return AdditiveScore(config.hidden_dim, states_dim, config.attention_dim)
