"""Global attention on the decoder's present state, with or without input feeding (Luong et al. 2015)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.alignment import Attend, AttentionMemory, SoftAlignment
from nmt.attention.score import AdditiveScore, DotScore, GeneralScore, Score
from nmt.attention.shared import Shared
from nmt.config.models import LuongConfig
from nmt.models.dropout import Dropout
from nmt.models.recurrent import Cell, StepOfCell, make_cell, whole_sequence_rnn
from nmt.models.seq2seq import Decoded, Encoded
from nmt.models.unrolled import Layered, run_rnn


class LuongMemory(NamedTuple):
    """What the decoder keeps of a source sentence."""

    attention: AttentionMemory
    first: Layered  # the encoder's last state, [batch, layers, hidden] each


class AttentionalOutput(nn.Module):
    """h~_t = tanh(W_c [c_t; h_t]) (Luong et al. 2015, eq. 5)."""

    def __init__(self, config: LuongConfig) -> None:
        super().__init__()
        self.attention = SoftAlignment(_score(config))
        self.projection = nn.Linear(2 * config.hidden_dim, config.hidden_dim, bias=False)

    def over(self, memory: AttentionMemory) -> Attend:
        """For one time loop: h [rows, length, hidden] -> h~ of that shape, and weights [rows, length, src_len]."""
        attend, project = self.attention.over(memory), Shared(self.projection.weight)

        def attentional(h: Tensor) -> tuple[Tensor, Tensor]:
            context, weights = attend(h)
            joined = torch.cat((context, h.to(context.dtype)), dim=-1)
            return torch.tanh(project(joined.flatten(0, 1))).unflatten(0, h.shape[:2]), weights

        return attentional


class _LuongDecoder(nn.Module):
    attends = True
    self_attends = False

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(config.dropout)
        self.output = AttentionalOutput(config)

    def read(self, encoded: Encoded) -> LuongMemory:
        """Keys of all states; the decoder starts from the encoder's last state, layer by layer."""
        return LuongMemory(self.output.attention.read(encoded.states, encoded.mask), encoded.final)


class PlainState(NamedTuple):
    """The recurrent state of a decoder without input feeding."""

    recurrent: Layered  # [rows, layers, hidden] each


class PlainDecoder(_LuongDecoder):
    """Without input feeding the recurrence needs no attention: one RNN call, then one attention, over all steps."""

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        self.rnn = whole_sequence_rnn(
            config.cell, config.embedding_dim, config.hidden_dim, config.layers, config.dropout
        )

    def init_state(self, memory: LuongMemory, max_len: int) -> PlainState:
        """The encoder's last state."""
        return PlainState(memory.first)

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: PlainState | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, PlainState | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.seq2seq.Decoder`."""
        embedded = self.dropout(self.embedding(tokens))
        h, recurrent = run_rnn(self.rnn, embedded, memory.first if state is None else state.recurrent)
        hidden, weights = self.output.over(memory.attention)(self.dropout(h))
        decoded = Decoded(self.dropout(hidden), weights[:, None, None] if need_weights else None)
        return decoded, None if state is None else PlainState(recurrent)


class FeedingState(NamedTuple):
    """The recurrent state and the attentional hidden state that is fed to the next step."""

    recurrent: Layered  # [rows, layers, hidden] each
    fed: Tensor  # [rows, hidden]


class FeedingDecoder(_LuongDecoder):
    """The attentional hidden state is fed to the next step beside its token (Luong et al. 2015, section 3.3)."""

    def __init__(self, config: LuongConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding)
        hidden = config.hidden_dim
        self.first_cell = make_cell(config.cell, config.embedding_dim, hidden, hidden)
        self.upper_cells = nn.ModuleList(make_cell(config.cell, hidden, 0, hidden) for _ in range(config.layers - 1))

    def init_state(self, memory: LuongMemory, max_len: int) -> FeedingState:
        """The encoder's last state; nothing is fed to the first step."""
        return FeedingState(memory.first, torch.zeros_like(memory.first[0][:, -1]))

    def forward(
        self, tokens: Tensor, memory: LuongMemory, state: FeedingState | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, FeedingState | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.seq2seq.Decoder`."""
        recurrent, fed = self.init_state(memory, tokens.size(1)) if state is None else state
        layers = list(zip(*(leaf.unbind(dim=1) for leaf in recurrent), strict=True))  # one state for each layer
        attend, steps = self.output.over(memory.attention), [cell.steps() for cell in self._cells()]
        hidden, weights = [], []
        for projected in self.first_cell.project(self.dropout(self.embedding(tokens))).unbind(dim=1):
            layers = self._step(steps, projected, fed, layers)
            attended, step_weights = attend(self.dropout(layers[-1][0]).unsqueeze(1))
            fed = attended.squeeze(1)
            hidden.append(fed)
            weights.append(step_weights)
        decoded = Decoded(
            self.dropout(torch.stack(hidden, dim=1)),
            torch.cat(weights, dim=1)[:, None, None] if need_weights else None,
        )
        if state is None:
            return decoded, None
        return decoded, FeedingState(tuple(torch.stack(leaf, dim=1) for leaf in zip(*layers, strict=True)), fed)

    def _step(self, steps: list[StepOfCell], projected: Tensor, fed: Tensor, layers: list[Layered]) -> list[Layered]:
        """One step through all layers: projected [rows, gates * hidden] enters the first with what is fed."""
        now = [steps[0](projected, fed, layers[0])]
        for cell, step, state in zip(self._cells()[1:], steps[1:], layers[1:], strict=True):
            below = self.dropout(now[-1][0])
            now.append(step(cell.project(below), None, state))
        return now

    def _cells(self) -> list[Cell]:
        return [self.first_cell, *cast(list[Cell], self.upper_cells)]


def _score(config: LuongConfig) -> Score:
    if config.score == "dot":
        return DotScore()
    if config.score == "general":
        return GeneralScore(config.hidden_dim, config.hidden_dim)
    return AdditiveScore(config.hidden_dim, config.hidden_dim, config.hidden_dim)
