"""The simpler simple recurrent unit (SSRU), a replacement for a decoder's self-attention (Kim et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.contract import Mixer
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class SsruState(NamedTuple):
    """The state of an SSRU, whose size does not grow with the number of positions."""

    c: Tensor  # [rows, dim]


class Ssru(Mixer):
    """The simpler simple recurrent unit (Kim et al. 2019).

    f_t = sigmoid(W_f x_t + b_f), c_t = f_t * c_{t-1} + (1 - f_t) * (W x_t), o_t = ReLU(c_t). The matrix products are
    computed for all positions at once; only the elementwise update of c_t needs the position before.
    """

    attends = False

    def __init__(self, model_dim: int) -> None:
        super().__init__()
        self.forget_projection = nn.Linear(model_dim, model_dim)
        self.input_projection = nn.Linear(model_dim, model_dim, bias=False)

    def init_state(self, rows: int, like: Tensor) -> SsruState:
        return SsruState(wide(like.new_zeros(rows, self.input_projection.out_features)))  # a sum over all positions

    def state_bytes(self, length: int) -> int:
        return 4 * self.input_projection.out_features

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: SsruState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, SsruState | None, Tensor | None]:
        # forget gates f_t and gated inputs (1 - f_t) * (W x_t)
        forget = torch.sigmoid(self.forget_projection(x))
        new = (1 - forget) * self.input_projection(x)
        # time loop for the cells c_t
        (c,) = self.init_state(x.size(0), x) if state is None else state
        cells = []
        for forget_t, new_t in zip(forget.unbind(dim=1), new.unbind(dim=1), strict=True):
            c = forget_t * c + new_t
            cells.append(c)
        # outputs o_t
        return torch.relu(torch.stack(cells, dim=1)), None if state is None else SsruState(c), None


def make(config: TransformerConfig, place: Place) -> Ssru:
    """Return the SSRU of one layer."""
    assert place.causal, "the configuration check refuses model.encoder_self=ssru"
    return Ssru(config.model_dim)
