"""The RNN encoder-decoder with a fixed vector between the two (Cho et al. 2014; Sutskever et al. 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.config.models import RnnEncDecConfig
from nmt.models.cells import Layered, first_state
from nmt.models.contract import Decoded, Encoded, NeedWeights, State, first_position
from nmt.models.dropout import make_dropout
from nmt.models.recurrent import MaxoutOutput, by_layer
from nmt.models.sequences import run_rnn
from nmt.models.stack import make_stack


class FixedMemory(NamedTuple):
    """Everything that the decoder knows of a source sentence."""

    context: Tensor  # [batch, context_dim], the fixed vector c
    first: Layered  # the decoder's first state


class _FixedVectorDecoder(nn.Module):
    """The common base of both decoders. Its RNN reads only known tokens in training, so all steps take one RNN call."""

    attends = False
    self_attends = False
    reads_layers = False
    loss_names: tuple[str, ...] = ()

    def __init__(self, config: RnnEncDecConfig, embedding: nn.Embedding, input_dim: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = make_dropout(config)
        self.rnn = make_stack(config, input_dim, config.hidden_dim, [1] * config.layers)

    def init_state(self, memory: FixedMemory, max_len: int) -> State:
        """Return the state before the first token, which `read` has computed."""
        return State(first_position(memory.context), (), memory.first)

    def _run(self, x: Tensor, memory: FixedMemory, state: State | None) -> tuple[Tensor, State | None]:
        """Run the RNN over x [rows, length, input] and return its output and, if a state is given, the next state."""
        output, layers = run_rnn(self.rnn, x, memory.first if state is None else state.layers)
        return output, None if state is None else State(state.position + x.size(1), (), layers)


class InitialStateDecoder(_FixedVectorDecoder):
    """A decoder that uses the fixed vector only as its first state (Sutskever et al. 2014, section 2)."""

    def __init__(self, config: RnnEncDecConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding, config.embedding_dim)
        final_dim = config.hidden_dim * (2 if config.bidirectional else 1)
        # the paper's encoder and decoder have the same width; two directions have to be projected to that width
        self.bridge = nn.Linear(final_dim, config.hidden_dim) if config.bidirectional else nn.Identity()

    def read(self, encoded: Encoded) -> FixedMemory:
        """Return a memory in which each layer starts from the encoder's last state of that layer."""
        first = tuple(self.bridge(leaf) for leaf in encoded.final)
        return FixedMemory(encoded.final[0][:, -1], by_layer(first))

    def forward(
        self, tokens: Tensor, memory: FixedMemory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings and hidden states
        output, state = self._run(self.dropout(self.embedding(tokens)), memory, state)
        return Decoded(self.dropout(output), None), state


class EveryStepDecoder(_FixedVectorDecoder):
    """A decoder whose recurrence and maxout output read the fixed vector at every step (Cho et al. 2014, A.1.2)."""

    def __init__(self, config: RnnEncDecConfig, embedding: nn.Embedding) -> None:
        super().__init__(config, embedding, config.embedding_dim + config.hidden_dim)
        self.cell = config.cell
        self.layers = config.layers
        final_dim = config.hidden_dim * (2 if config.bidirectional else 1)
        self.context_projection = nn.Linear(final_dim, config.hidden_dim)
        self.state_projection = nn.Linear(config.hidden_dim, config.layers * config.hidden_dim)
        self.output = MaxoutOutput(2 * config.hidden_dim + config.embedding_dim, config.maxout_dim)

    def read(self, encoded: Encoded) -> FixedMemory:
        """Compute the fixed vector c = tanh(V h_N) and h'_0 = tanh(V' c), from which the first states are made."""
        context = torch.tanh(self.context_projection(encoded.final[0][:, -1]))
        h = torch.tanh(self.state_projection(context)).unflatten(-1, (self.layers, -1))
        return FixedMemory(context, by_layer(first_state(self.cell, h)))

    def forward(
        self, tokens: Tensor, memory: FixedMemory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        embedded = self.dropout(self.embedding(tokens))
        # the fixed vector for each hypothesis and step; the hypotheses of a sentence are neighbouring rows
        hypotheses = tokens.size(0) // memory.context.size(0)  # per sentence
        context = memory.context.repeat_interleave(hypotheses, dim=0)  # [rows, hidden]
        context = context.unsqueeze(1).expand(-1, tokens.size(1), -1)  # [rows, tgt_len, hidden]
        # hidden states and maxout output
        output, state = self._run(torch.cat((embedded, context), dim=-1), memory, state)
        return Decoded(self.dropout(self.output(output, embedded, context)), None), state
