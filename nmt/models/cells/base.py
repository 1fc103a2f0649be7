"""The interface of recurrent cells, and the rules by which their weights are initialised."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

CellState = tuple[Tensor, ...]  # the state of one layer: h and, if the cell has one, c, [rows, dim] each
Layered = tuple[CellState, ...]  # the states of all layers


class Cell(nn.Module, ABC):
    """A recurrent layer that is called once per step.

    Its input has a part that is known before the time loop, such as embeddings, and a part that is fed at each step,
    such as a context. `project` multiplies the known part of all steps at once, outside the loop.
    """

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int, gates: int, *, bias: bool = True) -> None:
        super().__init__()
        self.fed_dim, self.hidden_dim = fed_dim, hidden_dim
        self.input_projection = nn.Linear(input_dim, gates * hidden_dim, bias=bias)

    def project(self, known: Tensor) -> Tensor:
        """Project the known inputs [rows, length, input_dim] of all steps to [rows, length, gates * hidden_dim]."""
        projected: Tensor = self.input_projection(known)
        return projected

    @abstractmethod
    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        """Return the next state, given projected [rows, gates * hidden], fed [rows, fed_dim] and the state."""

    @staticmethod
    @abstractmethod
    def start(h: Tensor) -> CellState:
        """Return the state of a decoder before its first step, if all that it begins with is h [..., hidden]."""

    @abstractmethod
    def initialise(self) -> None:
        """Initialise the weights that have a rule of their own; all matrices have been initialised with Xavier."""


@torch.no_grad()
def orthogonal_gates(weight: Tensor, hidden_dim: int) -> None:
    """Fill each gate's part of a recurrent matrix [gates * hidden, hidden] with an orthogonal matrix."""
    for gate in weight.split(hidden_dim):
        gate.copy_(nn.init.orthogonal_(torch.empty_like(gate)))


@torch.no_grad()
def open_forget_gates(bias: Tensor, hidden_dim: int) -> None:
    """Set the forget gates' part of an LSTM's bias [4 * hidden] to one."""
    bias[hidden_dim : 2 * hidden_dim].fill_(1.0)
