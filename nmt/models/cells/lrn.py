"""The lightweight recurrent network (Zhang and Sennrich 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.attention.precision import wide
from nmt.models.cells.base import CellState
from nmt.models.cells.light import LightCell


class LrnCell(LightCell):
    """A lightweight recurrent network, whose gates compare the input with h_{t-1} itself (Zhang and Sennrich 2019).

    q_t = W_q x_t,  k_t = W_k x_t,  v_t = W_v x_t
    i_t = sigmoid(k_t + h_{t-1}),  f_t = sigmoid(q_t - h_{t-1})
    h_t = tanh(i_t * v_t + f_t * h_{t-1})
    """

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates=3)

    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        # products with the input
        h = wide(state[0])
        q, k, v = self.products(projected, fed).to(h.dtype).chunk(3, dim=-1)
        # gates
        i, f = torch.sigmoid(k + h), torch.sigmoid(q - h)
        # new state
        return (torch.tanh(i * v + f * h),)

    @staticmethod
    def start(h: Tensor) -> CellState:
        return (h,)

    def initialise(self) -> None:
        """Keep the matrices as they are: there are no others."""
