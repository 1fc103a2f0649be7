"""Scores: how well a decoder's query matches each source state, before the softmax.

A score first projects the source states to keys, once per sentence (`keys`), and then compares queries with these keys.
Nothing that depends on the source alone is computed again at each step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention.precision import for_products
from nmt.config.models import LuongConfig, RnnSearchConfig


class Score(nn.Module, ABC):
    """A score between queries [batch, queries, query_dim] and source states [batch, src_len, states_dim]."""

    @abstractmethod
    def keys(self, states: Tensor) -> Tensor:
        """Project states [batch, src_len, states_dim] to keys [batch, src_len, key_dim], the argument of `forward`."""

    @abstractmethod
    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return scores [batch, queries, src_len] of query [batch, queries, query_dim] and keys from `keys`."""


class DotScore(Score):
    """The dot product: score(h_t, h_s) = h_t . h_s (Luong et al. 2015, section 3.1, dot)."""

    def keys(self, states: Tensor) -> Tensor:
        return for_products(states)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query.to(keys.dtype) @ keys.mT


class ScaledDotScore(DotScore):
    """The scaled dot product: score(h_t, h_s) = h_t . h_s / sqrt(d) for vectors of size d (Vaswani et al. 2017, eq. 1).

    Vaswani et al. divide because products of large vectors have a large variance, which saturates the softmax. The
    states of an RNN are small: here `dot` is better (docs/results/normalisers.md).
    """

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().forward(query / math.sqrt(query.size(2)), keys)


class GeneralScore(DotScore):
    """The bilinear score: score(h_t, h_s) = h_t . W_a h_s (Luong et al. 2015, section 3.1, general)."""

    def __init__(self, query_dim: int, states_dim: int) -> None:
        super().__init__()
        self.states_projection = nn.Linear(states_dim, query_dim, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected


class AdditiveScore(Score):
    """The additive score: score(s, h) = v . tanh(W_a s + U_a h + b) (Bahdanau et al. 2015, A.1.2, there without b).

    If [W_a U_a] is read as one matrix applied to [h_t; h_s], this is the concat score of Luong et al. 2015, sec. 3.1.
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
        # tanh([batch, queries, 1, attention_dim] + [batch, 1, src_len, attention_dim])
        energy = (self.query_projection(query).unsqueeze(2) + keys.unsqueeze(1)).tanh_()
        scores: Tensor = self.v(energy).squeeze(3)
        return scores


class LocationScore(Score):
    """A score that depends on the query and the position, not on the source state (Luong et al. 2015, eq. 8, location).

    The scores of all positions are W_a h_t, with one row of W_a for each of max_length positions. As in the paper, a
    shorter sentence uses the first scores, and words of a longer sentence beyond max_length are ignored. (Their scores
    are minus infinity.) The softmax is over the words of the sentence.
    """

    def __init__(self, query_dim: int, max_length: int) -> None:
        super().__init__()
        self.position_projection = nn.Linear(query_dim, max_length, bias=False)  # W_a

    def keys(self, states: Tensor) -> Tensor:
        """Return the states, of which only the number is read."""
        return states

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        scores = self.position_projection(query)[..., : keys.size(1)]
        return pad(scores, (0, keys.size(1) - scores.size(2)), value=-math.inf)


def make_score(config: RnnSearchConfig | LuongConfig, query_dim: int, states_dim: int, attention_dim: int) -> Score:
    """Return the score that `model.score` names; concat is Luong's name for additive."""
    match config.score:
        case "dot":
            return DotScore()
        case "scaled_dot":
            return ScaledDotScore()
        case "general":
            return GeneralScore(query_dim, states_dim)
        case "additive" | "concat":
            return AdditiveScore(query_dim, states_dim, attention_dim)
        case "location":
            return LocationScore(query_dim, config.location.max_length)
