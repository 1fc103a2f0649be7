"""Long short-term memory (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.models.cells.base import Cell, CellState, open_forget_gates, orthogonal_gates


class LstmCell(Cell):
    """An LSTM cell (Hochreiter & Schmidhuber 1997) with forget gates; the order of the gates is that of `nn.LSTM`."""

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates=4)
        self.recurrent_projection = nn.Linear(fed_dim + hidden_dim, 4 * hidden_dim, bias=False)

    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        # gates
        h, c = state
        read = h if fed is None else torch.cat((fed.to(h.dtype), h), dim=-1)
        gates = (projected + self.recurrent_projection(read)).to(c.dtype)
        i, f, g, o = gates.chunk(4, dim=-1)
        # new cell and hidden state
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    @staticmethod
    def start(h: Tensor) -> CellState:
        return h, torch.zeros_like(h)

    def initialise(self) -> None:
        """Make the recurrent matrix of each gate orthogonal, and give forget gates a bias of one."""
        orthogonal_gates(self.recurrent_projection.weight[:, -self.hidden_dim :], self.hidden_dim)
        open_forget_gates(self.input_projection.bias, self.hidden_dim)
