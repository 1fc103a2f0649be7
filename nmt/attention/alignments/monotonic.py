"""Monotonic attention (Raffel et al. 2017): it reads the source from left to right and never turns back.

At each target position i, attention goes on from the source position where it last was, and decides at one position j
after the other whether to stop there, with the probability p_ij. Training uses the expectation over these decisions. At
inference, attention stops at the first position with p_ij >= 1/2, and the context is the state at that position.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from nmt.attention.alignments.base import AlignmentMemory, read
from nmt.attention.contract import Attend, Attended, Encoded, SourceAttention
from nmt.attention.precision import for_products, wide, wide_dtype
from nmt.attention.scores import AdditiveScore, Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class Energy(nn.Module):
    """The energy e_ij = score(s_{i-1}, h_j) + r with a learned offset r, which starts below zero."""

    def __init__(self, score: Score, offset: float) -> None:
        super().__init__()
        self.score = score
        self.r = nn.Parameter(torch.tensor(offset))

    def scale(self) -> Tensor | float:
        """Return the factor of the score."""
        return 1.0

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return energies [batch, queries, src_len], in float32 or better, of query [batch, queries, query_dim]."""
        energies: Tensor = self.scale() * wide(self.score(query, keys)) + self.r
        return energies


class NormalisedEnergy(Energy):
    """The energy e_ij = g v / ||v|| . tanh(W s_{i-1} + U h_j + b) + r of an additive score.

    This is the paper's modified energy. The scale of the energies is g alone, 1 / sqrt(attention_dim) at first. It
    decides how sure a decision is.
    """

    def __init__(self, score: AdditiveScore, offset: float) -> None:
        super().__init__(score, offset)
        self.g = nn.Parameter(torch.tensor(score.v.in_features**-0.5))

    def scale(self) -> Tensor:
        factor: Tensor = self.g / cast(AdditiveScore, self.score).v.weight.norm()
        return factor


class MonotonicAlignment(SourceAttention):
    """A sum of source states whose weights alpha_ij say how likely attention stops at j (Raffel et al. 2017, eq. 9).

    p_ij = sigmoid(e_ij), in training with Gaussian noise on e_ij, which teaches the model to make p_ij almost 0 or 1.
    The weights of a target position sum to less than one if attention may run past the last word. Where it has, the
    weights are all zero from then on, and so is the context. The state is alpha_{i-1} [rows, src_len].
    """

    sums_to_one = False

    def __init__(self, energy: Energy, noise: float) -> None:
        """Create the alignment; `noise` is the standard deviation of the noise."""
        super().__init__()
        self.energy = energy
        self.noise = noise

    def read(self, encoded: Encoded) -> AlignmentMemory:
        return read(self.energy.score, encoded)

    def init_state(self, memory: AlignmentMemory) -> Tensor:
        """Return alpha_0 = (1, 0, ..., 0), in float32 or better."""
        first = torch.arange(memory.mask.size(1), device=memory.mask.device) == 0
        return first.to(wide_dtype(memory.states)).repeat(memory.mask.size(0), 1)

    def over(self, memory: AlignmentMemory, *, need_weights: bool = False) -> Attend:
        mask = memory.mask.unsqueeze(1)  # [batch, 1, src_len]
        states = for_products(memory.states)  # once: autocast would keep a copy of the states for each step
        batch = memory.mask.size(0)

        def attend(x: Tensor, positions: Tensor, state: Tensor) -> Attended:
            rows, tgt_len, dim = x.shape
            # energies e_ij; the hypotheses of a sentence are treated as additional queries
            energies = self.energy(x.reshape(batch, -1, dim), memory.keys)
            if self.training:
                energies = energies + self.noise * torch.randn_like(energies)
            # weights alpha_i, one target position after the other
            follow = expected if self.training else first_stop
            alphas, alpha = [], state.unflatten(0, (batch, -1))  # [batch, hypotheses, src_len]
            for energy in energies.unflatten(1, (-1, tgt_len)).unbind(2):
                alpha = follow(energy, mask, alpha)
                alphas.append(alpha)
            weights = torch.stack(alphas, dim=2)  # [batch, hypotheses, tgt_len, src_len]
            # contexts
            context = weights.flatten(1, 2).to(states.dtype) @ states
            return Attended(context.reshape(rows, tgt_len, -1), weights.flatten(0, 1).unsqueeze(1), alpha.flatten(0, 1))

        return attend


def expected(energy: Tensor, mask: Tensor, previous: Tensor) -> Tensor:
    """Return alpha_ij = p_ij sum_{k<=j} alpha_{i-1,k} prod_{l=k}^{j-1} (1 - p_il) (eq. 9), given alpha_{i-1}.

    All are [batch, hypotheses, src_len]; mask broadcasts to this shape. The products are sums of logarithms, one for
    each pair of k and j, and not the quotients of cumulative products of the paper's appendix, which underflow.
    """
    # log prod_{l=k}^{j-1} (1 - p_il) for each k (dimension 2) and j (dimension 3)
    log_on = pad(logsigmoid(-energy), (1, 0))[..., :-1]  # log(1 - p_{i,j-1}) at j
    log_products = log_on.unsqueeze(2).expand(-1, -1, energy.size(2), -1).triu(1).cumsum(3)
    # the probability to come to j, and to stop there
    reach = (previous.unsqueeze(3) * log_products.exp().triu()).sum(2)
    return torch.sigmoid(energy) * mask * reach


def first_stop(energy: Tensor, mask: Tensor, previous: Tensor) -> Tensor:
    """Return alpha_i at inference: one at the first position with p_ij >= 1/2, zero elsewhere (section 2.2).

    The search starts at the position where `previous` is one. If no position follows with p_ij >= 1/2, or if `previous`
    is all zeros, the result is all zeros. The arguments and the result have the shapes of those of `expected`.
    """
    stops = (previous.cumsum(2) > 0) & (energy >= 0) & mask
    return (stops & (stops.cumsum(2) == 1)).to(previous.dtype)


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> MonotonicAlignment:
    """Return the monotonic alignment with the options in `model.monotonic`; an additive score is normalised."""
    offset, noise = config.monotonic.offset, config.monotonic.noise
    if isinstance(score, AdditiveScore):
        return MonotonicAlignment(NormalisedEnergy(score, offset), noise)
    return MonotonicAlignment(Energy(score, offset), noise)
