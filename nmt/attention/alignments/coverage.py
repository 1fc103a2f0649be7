"""Attention that keeps track of how far each source state has been translated (Tu et al. 2016, section 3).

In the equations s_{i-1} is the query. In Luong's model the query is h_t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.alignments.feedback import FeedbackAlignment
from nmt.attention.contract import Encoded
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.attention.precision import wide_dtype
from nmt.attention.scores import AdditiveScore, Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class CoverageMemory(NamedTuple):
    """The encoded source as attention with coverage reads it, with one row per sentence."""

    keys: Tensor  # [batch, src_len, attention_dim], U h_j
    states: Tensor  # [batch, src_len, states_dim]
    mask: Tensor  # [batch, src_len] bool, True = may attend
    source: Tensor  # [batch, src_len, *], the result of `CoverageUpdate.source`


class CoverageUpdate(nn.Module, ABC):
    """The update of the coverage [batch, hypotheses, src_len, dim] at each step. Coverage starts at zero."""

    dim: int  # the size of the coverage of one source position

    @abstractmethod
    def source(self, states: Tensor) -> Tensor:
        """Compute, from states [batch, src_len, states_dim], an input of all updates: [batch, src_len, *]."""

    @abstractmethod
    def forward(self, coverage: Tensor, weights: Tensor, query: Tensor, source: Tensor) -> Tensor:
        """Return the coverage after one step.

        weights are [batch, hypotheses, src_len], query is [batch, hypotheses, query_dim], and source is the result of
        the method `source`.
        """


class LinguisticCoverage(CoverageUpdate):
    """The attention that a source word has received so far, divided by its fertility (Tu et al. 2016, section 3.1).

    The fertility is the number of target words that a source word is expected to produce, N (max_fertility) at most:
    C_ij = C_{i-1,j} + alpha_ij / Phi_j with the fertility Phi_j = N sigmoid(U_f h_j).
    """

    dim = 1

    def __init__(self, states_dim: int, max_fertility: float) -> None:
        super().__init__()
        self.max_fertility = max_fertility
        self.fertility_projection = nn.Linear(states_dim, 1, bias=False)

    def source(self, states: Tensor) -> Tensor:
        fertility: Tensor = self.max_fertility * torch.sigmoid(self.fertility_projection(states))
        return fertility

    def forward(self, coverage: Tensor, weights: Tensor, query: Tensor, source: Tensor) -> Tensor:
        return coverage + weights.unsqueeze(3) / source.unsqueeze(1)


class NeuralCoverage(CoverageUpdate):
    """Coverage vectors that a GRU (in the form of Cho et al. 2014) updates at each step (Tu et al. 2016, section 3.1).

    C_ij = GRU(C_{i-1,j}, [alpha_ij; h_j; s_{i-1}]).
    """

    def __init__(self, states_dim: int, query_dim: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        # the GRU's input projection in three parts, one for each input; each gives z, r and the candidate side by side
        self.states_projection = nn.Linear(states_dim, 3 * dim)
        self.weight_projection = nn.Linear(1, 3 * dim, bias=False)
        self.query_projection = nn.Linear(query_dim, 3 * dim, bias=False)
        self.gates_projection = nn.Linear(dim, 2 * dim, bias=False)
        self.candidate_projection = nn.Linear(dim, dim, bias=False)

    def source(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected

    def forward(self, coverage: Tensor, weights: Tensor, query: Tensor, source: Tensor) -> Tensor:
        # input projection of [alpha_ij; h_j; s_{i-1}]
        projected = self.weight_projection(weights.unsqueeze(3)) + source.unsqueeze(1)
        projected = projected + self.query_projection(query).unsqueeze(2)
        for_gates, for_candidate = projected.split((2 * self.dim, self.dim), dim=3)
        # gates z and r
        gates = torch.sigmoid(for_gates + self.gates_projection(coverage))
        update, reset = gates.to(coverage.dtype).chunk(2, dim=3)
        # candidate and new coverage
        candidate = torch.tanh(for_candidate + self.candidate_projection(reset * coverage))
        return torch.lerp(coverage, candidate.to(coverage.dtype), update)


class CoverageAlignment(FeedbackAlignment):
    """Soft alignment whose additive score also reads the coverage (Tu et al. 2016, section 3.2).

    e_ij = v . tanh(W s_{i-1} + U h_j + V C_{i-1,j}). The state is the coverage [rows, src_len, dim].
    """

    def __init__(self, score: AdditiveScore, update: CoverageUpdate, normaliser: Normaliser | None = None) -> None:
        super().__init__(score, normaliser)
        self.update = update
        self.coverage_projection = nn.Linear(update.dim, score.v.in_features, bias=False)

    def read(self, encoded: Encoded) -> CoverageMemory:
        keys, source = self.score.keys(encoded.states), self.update.source(encoded.states)
        return CoverageMemory(keys, encoded.states, encoded.mask, source)

    def init_state(self, memory: CoverageMemory) -> Tensor:
        """Return a coverage of zeros, in float32 or better, like the weights that change it."""
        dtype = wide_dtype(memory.states)
        return memory.states.new_zeros(*memory.mask.shape, self.update.dim, dtype=dtype)

    def term(self, state: Tensor) -> Tensor:
        """Return V C_{i-1,j} for the coverage C_{i-1}."""
        term: Tensor = self.coverage_projection(state)
        return term

    def after(self, state: Tensor, weights: Tensor, query: Tensor, memory: CoverageMemory) -> Tensor:
        """Return the coverage C_i, given C_{i-1} and alpha_i."""
        coverage: Tensor = self.update(state, weights, query, memory.source)
        return coverage


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> CoverageAlignment:
    """Return an alignment with an additive score and the coverage that `model.coverage` describes."""
    options = config.coverage
    update: CoverageUpdate
    if options.kind == "linguistic":
        update = LinguisticCoverage(states_dim, options.max_fertility)
    else:
        update = NeuralCoverage(states_dim, config.hidden_dim, options.dim)
    return CoverageAlignment(cast(AdditiveScore, score), update, make_normaliser(config, 1, states_dim))
