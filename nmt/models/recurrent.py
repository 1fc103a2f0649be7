"""Parts of recurrent models: the encoder, cells that are called once per step, and the maxout layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.attention.contract import Attended, SourceAttention
from nmt.attention.losses import doubly_stochastic
from nmt.config.models import LuongConfig, RnnSearchConfig
from nmt.models.contract import Encoded, NamedLoss, merged
from nmt.models.sequences import CellState, Layered, reverse, run_rnn

CellName = Literal["gru", "lstm"]
# the initial standard deviation of weights that multiply embeddings; with 0.05 or 0.5 Luong's model learned more slowly
_INPUT_STD = 0.2


class RnnEncoder(nn.Module):
    """A GRU or LSTM over the embedded source, in one direction or both.

    The GRU is `nn.GRU`, which applies the reset gate after the recurrent product (Cho et al. 2014 apply it before). It
    is used for whole sequences because this form has fused kernels.
    """

    attends = False

    def __init__(
        self,
        embedding: nn.Embedding,
        *,
        cell: CellName,
        hidden_dim: int,
        layers: int = 1,
        bidirectional: bool = False,
        reverse_source: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = nn.Dropout(dropout)
        self.reverse_source = reverse_source
        self.rnn = whole_sequence_rnn(cell, embedding.embedding_dim, hidden_dim, layers, dropout, bidirectional)

    def forward(
        self,
        src: Tensor,
        mask: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
        need_layers: bool = False,
    ) -> Encoded:
        """Encode src [batch, src_len]; states and final have hidden_dim * directions features.

        There are no attention weights. With reverse_source the RNN reads the words from last to first (Sutskever et al.
        2014, section 3.3), but each state is returned at the position of its word.
        """
        # embeddings
        sizes = mask.sum(dim=1)
        embedded = self.dropout(self.embedding(src))  # [batch, src_len, embedding]
        if self.reverse_source:
            embedded = reverse(embedded, sizes)
        # hidden states
        states, final = run_rnn(self.rnn, embedded, lengths=sizes if lengths is None else lengths)
        if self.reverse_source:
            states = reverse(states, sizes)
        return Encoded(states, mask, tuple(torch.stack(leaf, dim=1) for leaf in zip(*final, strict=True)))


def whole_sequence_rnn(
    cell: CellName, input_dim: int, hidden_dim: int, layers: int = 1, dropout: float = 0.0, bidirectional: bool = False
) -> nn.GRU | nn.LSTM:
    """Return a batch-first `nn.GRU` or `nn.LSTM` with dropout between its layers."""
    kind = nn.GRU if cell == "gru" else nn.LSTM
    between = dropout if layers > 1 else 0.0
    return kind(input_dim, hidden_dim, layers, batch_first=True, dropout=between, bidirectional=bidirectional)


class Cell(nn.Module, ABC):
    """A recurrent layer that is called once per step.

    Its input has a part that is known before the time loop, such as embeddings, and a part that is fed at each step,
    such as a context. `project` multiplies the known part of all steps at once, outside the loop.
    """

    leaves: int  # the number of tensors in the state: 1 (h) or 2 (h and c)

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int, gates: int) -> None:
        super().__init__()
        self.fed_dim, self.hidden_dim = fed_dim, hidden_dim
        self.input_projection = nn.Linear(input_dim, gates * hidden_dim)
        self.recurrent_projection = nn.Linear(fed_dim + hidden_dim, gates * hidden_dim, bias=False)

    def project(self, known: Tensor) -> Tensor:
        """Project the known inputs [rows, length, input_dim] of all steps to [rows, length, gates * hidden_dim]."""
        projected: Tensor = self.input_projection(known)
        return projected

    @abstractmethod
    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        """Return the next state, given projected [rows, gates * hidden], fed [rows, fed_dim] and the state."""


class GruCell(Cell):
    """A gated recurrent unit whose reset gate multiplies h itself (Cho et al. 2014; Bahdanau et al. 2015, A.1.1)."""

    leaves = 1

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates=3)

    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        # input projection
        (h,) = state
        n = self.hidden_dim
        fed_weight, weight = self.recurrent_projection.weight.split((self.fed_dim, n), dim=1)
        if fed is not None:
            projected = projected + linear(fed, fed_weight)
        for_gates, for_candidate = projected.split((2 * n, n), dim=-1)
        # gates
        update, reset = torch.sigmoid(for_gates + linear(h, weight[: 2 * n])).to(h.dtype).chunk(2, dim=-1)
        # candidate and new state
        candidate = torch.tanh(for_candidate + linear(reset * h, weight[2 * n :])).to(h.dtype)
        return (torch.lerp(h, candidate, update),)


class LstmCell(Cell):
    """An LSTM cell (Hochreiter & Schmidhuber 1997) with forget gates; the order of the gates is that of `nn.LSTM`."""

    leaves = 2

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates=4)

    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        # gates
        h, c = state
        read = h if fed is None else torch.cat((fed.to(h.dtype), h), dim=-1)
        gates = (projected + self.recurrent_projection(read)).to(c.dtype)
        i, f, g, o = gates.chunk(4, dim=-1)
        # new cell and hidden state
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def by_layer(leaves: tuple[Tensor, ...]) -> Layered:
    """Split the last state of an encoder, h (and c) [batch, layers, dim], into one state per layer."""
    return tuple(zip(*(leaf.unbind(dim=1) for leaf in leaves), strict=True))


def shown(attended: list[Attended]) -> Tensor:
    """Concatenate the attention weights of consecutive calls to weights [rows, 1, 1, tgt_len, src_len].

    Each call covers one or more target positions. The two dimensions of size 1 are layers and heads: a recurrent
    decoder has one layer of attention, with one head.
    """
    return torch.cat([cast(Tensor, each.weights) for each in attended], dim=2).unsqueeze(1)


class AddsLosses(nn.Module, ABC):
    """The base of decoders that add losses to training: those of their attention, and the doubly stochastic loss."""

    def __init__(self, config: RnnSearchConfig | LuongConfig) -> None:
        super().__init__()
        self.doubly_stochastic = config.doubly_stochastic

    @abstractmethod
    def source_attention(self) -> SourceAttention:
        """Return the decoder's attention to the source."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses, in the order in which `losses` returns them."""
        own = ("doubly_stochastic",) if self.doubly_stochastic else ()
        return self.source_attention().loss_names + own

    def losses(self, attended: list[Attended], mask: Tensor) -> tuple[NamedLoss, ...]:
        """Return the losses for the results of attention at all steps; mask [rows, src_len] is False at padding."""
        losses = [loss for step in attended for loss in step.losses]

        def value(log_probs: Tensor, tgt_mask: Tensor) -> Tensor:
            return doubly_stochastic(shown(attended)[:, 0, 0], mask, tgt_mask)

        if self.doubly_stochastic:
            losses.append(NamedLoss("doubly_stochastic", self.doubly_stochastic, value))
        return merged(losses)


def make_cell(cell: CellName, input_dim: int, fed_dim: int, hidden_dim: int) -> GruCell | LstmCell:
    """Return a new cell of the kind that `cell` names."""
    return (GruCell if cell == "gru" else LstmCell)(input_dim, fed_dim, hidden_dim)


class MaxoutOutput(nn.Module):
    """The maxout output layer (Goodfellow et al. 2013; Bahdanau et al. 2015, A.2.2).

    t is the maximum of each pair of neighbouring components of U_o s + V_o E y + C_o c, where s is the decoder state,
    E y the embedding of the previous word and c the context.
    """

    def __init__(self, input_dim: int, maxout_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_dim, 2 * maxout_dim)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate inputs [rows, length, *] and return the layer's output [rows, length, maxout_dim]."""
        projected: Tensor = self.projection(torch.cat(inputs, dim=-1))
        return projected.view(*projected.shape[:-1], -1, 2).amax(dim=-1)


def initialise_recurrent(model: nn.Module, readers: Iterable[nn.GRU | nn.LSTM | Cell], embedding_dim: int) -> None:
    """Initialise a recurrent model: biases with zero, matrices with Xavier unless another rule below applies.

    Recurrent matrices are orthogonal for each gate (Bahdanau et al. 2015, B.1), and forget gates have a bias of one
    (Jozefowicz et al. 2015). Weights that multiply embeddings (those of `readers`) have a standard deviation of 0.2.
    Embeddings have a norm of about 1, so that gates have the same standard deviation before their activations. With
    Xavier gates would start near zero, and attention, which learns from products of states, would learn late.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GRU | nn.LSTM):
            for name, parameter in module.named_parameters():
                if "bias" in name:
                    nn.init.zeros_(parameter)
                    if isinstance(module, nn.LSTM) and "bias_ih" in name:
                        _open_forget_gates(parameter, module.hidden_size)
                elif "weight_hh" in name:
                    _orthogonal_gates(parameter, module.hidden_size)
                else:
                    nn.init.xavier_uniform_(parameter)
    for module in model.modules():
        if isinstance(module, Cell):
            weight = module.recurrent_projection.weight
            _orthogonal_gates(weight[:, -module.hidden_dim :], module.hidden_dim)
            if isinstance(module, LstmCell):
                _open_forget_gates(module.input_projection.bias, module.hidden_dim)
    with torch.no_grad():
        for reader in readers:
            for weight in _input_weights(reader):
                nn.init.normal_(weight[:, :embedding_dim], std=_INPUT_STD)


def _input_weights(layer: nn.GRU | nn.LSTM | Cell) -> list[Tensor]:
    """Return the matrices [gates * hidden, input] that multiply the input of a layer (of a stack: its first layer)."""
    if isinstance(layer, Cell):
        return [layer.input_projection.weight]
    return [getattr(layer, name) for name in ("weight_ih_l0", "weight_ih_l0_reverse") if hasattr(layer, name)]


@torch.no_grad()
def _orthogonal_gates(weight: Tensor, hidden_dim: int) -> None:
    """Fill each gate's part of a recurrent matrix [gates * hidden, hidden] with an orthogonal matrix."""
    for gate in weight.split(hidden_dim):
        gate.copy_(nn.init.orthogonal_(torch.empty_like(gate)))


@torch.no_grad()
def _open_forget_gates(bias: Tensor, hidden_dim: int) -> None:
    """Set the forget gates' part of an LSTM's bias [4 * hidden] to one."""
    bias[hidden_dim : 2 * hidden_dim].fill_(1.0)
