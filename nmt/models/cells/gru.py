"""The gated recurrent unit (Cho et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.models.cells.base import Cell, CellState, orthogonal_gates


class GruCell(Cell):
    """A gated recurrent unit whose reset gate multiplies h itself (Cho et al. 2014; Bahdanau et al. 2015, A.1.1)."""

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates=3)
        self.recurrent_projection = nn.Linear(fed_dim + hidden_dim, 3 * hidden_dim, bias=False)

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

    @staticmethod
    def start(h: Tensor) -> CellState:
        return (h,)

    def initialise(self) -> None:
        """Make the recurrent matrix of each gate orthogonal (Bahdanau et al. 2015, B.1)."""
        orthogonal_gates(self.recurrent_projection.weight[:, -self.hidden_dim :], self.hidden_dim)
