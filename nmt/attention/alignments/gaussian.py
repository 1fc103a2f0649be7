"""Attention to a window of Gaussians that moves through the source (Graves 2013, section 5.1).

The model predicts where the window is and how wide it is; source states are not compared with anything.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.contract import Attend, Attended, Encoded, SourceAttention
from nmt.attention.precision import for_products, wide
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class GaussianMemory(NamedTuple):
    """The encoded source as a Gaussian window reads it, with one row per sentence."""

    states: Tensor  # [batch, src_len, states_dim]
    mask: Tensor  # [batch, src_len] bool, True = may attend


class GaussianAlignment(SourceAttention):
    """A sum of source states, weighted by K Gaussians whose centres only move forwards (Graves 2013, eqs. 46-51).

    phi(t, u) = sum_k alpha_t^k exp(-beta_t^k (kappa_t^k - u)^2) is the weight of source position u, counted from 1. The
    decoder state h_t gives each Gaussian its height alpha, its narrowness beta and the step of its centre kappa, all of
    them positive. As in the paper, the weights are not normalised. The state is kappa [rows, K].
    """

    sums_to_one = False

    def __init__(self, query_dim: int, components: int) -> None:
        super().__init__()
        self.components = components  # K
        self.window_projection = nn.Linear(query_dim, 3 * components)  # for alpha, beta and the step of kappa

    def read(self, encoded: Encoded) -> GaussianMemory:
        return GaussianMemory(encoded.states, encoded.mask)

    def init_state(self, memory: GaussianMemory) -> Tensor:
        """Return centres of zero, before the first source position, in float32 or better."""
        return wide(memory.states.new_zeros(memory.states.size(0), self.components))

    def over(self, memory: GaussianMemory, *, need_weights: bool = False) -> Attend:
        states, mask = for_products(memory.states), memory.mask
        batch, src_len = mask.shape
        source = torch.arange(1, src_len + 1, device=mask.device)  # u

        def attend(x: Tensor, positions: Tensor, state: Tensor) -> Attended:
            rows, tgt_len, _ = x.shape
            # heights alpha_t, narrownesses beta_t and centres kappa_t = kappa_{t-1} + step_t, [rows, tgt_len, K]
            alpha, beta, step = wide(self.window_projection(x)).exp().chunk(3, dim=2)
            kappa = state.unsqueeze(1) + step.cumsum(dim=1)
            # weights phi(t, u)
            distance = kappa.unsqueeze(3) - source  # [rows, tgt_len, K, src_len]
            phi = (alpha.unsqueeze(3) * torch.exp(-beta.unsqueeze(3) * distance.square())).sum(dim=2)
            # contexts; the hypotheses of a sentence are treated as additional queries
            weights = phi.reshape(batch, -1, src_len) * mask.unsqueeze(1)
            context = weights.to(states.dtype) @ states
            return Attended(
                context.reshape(rows, tgt_len, -1), weights.reshape(rows, 1, tgt_len, src_len), kappa[:, -1]
            )

        return attend


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> GaussianAlignment:
    """Return a window with the number of Gaussians in `model.gaussian.components`; it needs no score."""
    return GaussianAlignment(config.hidden_dim, config.gaussian.components)
