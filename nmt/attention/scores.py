"""Scores: how well a decoder's query matches each source state, before the softmax.

A score projects the source states once for each sentence (`keys`) and then compares queries with them, so that nothing
that depends on the source alone is computed at every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Score(nn.Module, ABC):
    """Compares queries [batch, queries, query_dim] with source states [batch, src_len, states_dim]."""

    @abstractmethod
    def keys(self, states: Tensor) -> Tensor:
        """Return what queries are compared with: states [batch, src_len, states_dim] -> [batch, src_len, key_dim]."""

    @abstractmethod
    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return the scores [batch, queries, src_len] of queries [batch, queries, query_dim]."""


class DotScore(Score):
    """score(h_t, h_s) = h_t . h_s (Luong et al. 2015, eq. 8, dot)."""

    def keys(self, states: Tensor) -> Tensor:
        return states

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query.to(keys.dtype) @ keys.mT


class GeneralScore(DotScore):
    """score(h_t, h_s) = h_t . W_a h_s (Luong et al. 2015, eq. 8, general)."""

    def __init__(self, query_dim: int, states_dim: int) -> None:
        super().__init__()
        self.states_projection = nn.Linear(states_dim, query_dim, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected


class AdditiveScore(Score):
    """score(s, h) = v . tanh(W_a s + U_a h) (Bahdanau et al. 2015, A.1.2).

    With [W_a U_a] read as one matrix over [h_t; h_s] it is the concat score of Luong et al. 2015, eq. 8.
    """

    def __init__(self, query_dim: int, states_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.query_projection = nn.Linear(query_dim, attention_dim, bias=False)
        self.states_projection = nn.Linear(states_dim, attention_dim)
        self.v = nn.Linear(attention_dim, 1, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        # [batch, queries, 1, attention] + [batch, 1, src_len, attention]
        energy = (self.query_projection(query).unsqueeze(2) + keys.unsqueeze(1)).tanh_()
        scores: Tensor = self.v(energy).squeeze(3)
        return scores


def make_score(name: str, query_dim: int, states_dim: int, attention_dim: int) -> Score:
    """Return the score that `model.score` names; concat is Luong et al.'s word for additive."""
    if name == "dot":
        return DotScore()
    if name == "general":
        return GeneralScore(query_dim, states_dim)
    return AdditiveScore(query_dim, states_dim, attention_dim)
