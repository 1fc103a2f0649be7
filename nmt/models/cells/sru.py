"""The simple recurrent unit (Lei et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention.precision import wide
from nmt.models.cells.base import CellState
from nmt.models.cells.light import LightCell

_HIGHWAY_SCALE = math.sqrt(3)  # alpha = sqrt(1 + 2 exp(b)), where b = 0 is the first bias of the reset gate


class SruCell(LightCell):
    """A simple recurrent unit: a light recurrence and a highway connection (Lei et al. 2018, section 3).

    f_t = sigmoid(W_f x_t + v_f * c_{t-1} + b_f)                (eq. 1)
    c_t = f_t * c_{t-1} + (1 - f_t) * (W x_t)                   (eq. 2)
    r_t = sigmoid(W_r x_t + v_r * c_{t-1} + b_r)                (eq. 3)
    h_t = r_t * c_t + (1 - r_t) * alpha x_t                     (eq. 4, with the scale of section 3.2)

    If x_t is not of the size of h_t, the highway reads W_h x_t instead of alpha x_t, as in the authors' program. The
    next state depends on c_t, and not on h_t.
    """

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int) -> None:
        same_size = input_dim == hidden_dim and not fed_dim
        super().__init__(input_dim, fed_dim, hidden_dim, gates=3 if same_size else 4)
        self.carries_input = same_size  # whether the highway reads alpha x_t
        self.gate_weight = nn.Parameter(torch.empty(2 * hidden_dim))  # v_f, v_r
        self.gate_bias = nn.Parameter(torch.empty(2 * hidden_dim))  # b_f, b_r

    def project(self, known: Tensor) -> Tensor:
        """Return W x, W_f x + b_f, W_r x + b_r and the highway's input, side by side [rows, length, 4 * hidden]."""
        projected = super().project(known)
        if self.carries_input:
            projected = torch.cat((projected, _HIGHWAY_SCALE * known), dim=-1)
        return projected + pad(self.gate_bias, (self.hidden_dim, self.hidden_dim))

    def forward(self, projected: Tensor, fed: Tensor | None, state: CellState) -> CellState:
        # products with the input
        c = wide(state[1])
        n = self.hidden_dim
        new, gates, highway = self.products(projected, fed).to(c.dtype).split((n, 2 * n, n), dim=-1)
        # gates
        gates = torch.sigmoid(gates + self.gate_weight * torch.cat((c, c), dim=-1))
        forget, reset = gates.chunk(2, dim=-1)
        # light recurrence
        c = torch.lerp(new, c, forget)
        # highway
        return torch.lerp(highway, c, reset), c

    @staticmethod
    def start(h: Tensor) -> CellState:
        return h, h  # c, because the recurrence does not read h

    @torch.no_grad()
    def initialise(self) -> None:
        """Keep the variance of the input (Lei et al. 2018, section 3.2).

        Weights of x_t have a variance of 1 / d for inputs of size d. The scales of the gates and of W_h are those of
        the authors' program: a gate adds up two terms, so each has half the variance.
        """
        n = self.hidden_dim
        matrices = [self.input_projection.weight] + ([self.fed_projection.weight] if self.fed_projection else [])
        bound = math.sqrt(3 / sum(matrix.size(1) for matrix in matrices))
        for matrix in matrices:
            nn.init.uniform_(matrix, -bound, bound)
            matrix[n : 3 * n] *= math.sqrt(0.5)
            matrix[3 * n :] *= _HIGHWAY_SCALE
        nn.init.uniform_(self.gate_weight, -math.sqrt(1.5), math.sqrt(1.5))
        nn.init.zeros_(self.gate_bias)
