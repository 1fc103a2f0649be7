"""Location-aware attention, whose scores also read the weights of the step before (Chorowski et al. 2015, section 2.2).

In the equations s_{i-1} is the query. In Luong's model the query is h_t.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from nmt.attention.alignments.base import AlignmentMemory, read
from nmt.attention.alignments.feedback import FeedbackAlignment
from nmt.attention.contract import Encoded
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.attention.precision import wide
from nmt.attention.scores import AdditiveScore, Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class LocationAwareAlignment(FeedbackAlignment):
    """Soft alignment whose additive score also reads features of the weights around each source position.

    f_i = F * alpha_{i-1} is a convolution with k filters, each 2 radius + 1 wide, and e_ij = w . tanh(W s_{i-1} + V h_j
    + U f_ij + b) (Chorowski et al. 2015). The state is alpha_{i-1} [rows, src_len]. Before the first step all
    weight is on the first source position, as in the authors' code.
    """

    def __init__(self, score: AdditiveScore, filters: int, radius: int, normaliser: Normaliser | None = None) -> None:
        super().__init__(score, normaliser)
        self.convolution = nn.Conv1d(1, filters, 2 * radius + 1, padding=radius, bias=False)  # F
        self.location_projection = nn.Linear(filters, score.v.in_features, bias=False)  # U

    def read(self, encoded: Encoded) -> AlignmentMemory:
        return read(self.score, encoded)

    def init_state(self, memory: AlignmentMemory) -> Tensor:
        """Return a weight of one for the first source position, in float32 or better, and zero for all others."""
        weights = wide(memory.states.new_zeros(memory.mask.shape))
        weights[:, 0] = 1.0
        return weights

    def term(self, state: Tensor) -> Tensor:
        """Return U f_ij for the weights alpha_{i-1}."""
        features = self.convolution(state.flatten(0, 1).unsqueeze(1))  # [rows, filters, src_len]
        term: Tensor = self.location_projection(features.mT.unflatten(0, state.shape[:2]))
        return term

    def after(self, state: Tensor, weights: Tensor, query: Tensor, memory: AlignmentMemory) -> Tensor:
        """Return the weights alpha_i, which the next step reads."""
        return weights


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> LocationAwareAlignment:
    """Return an alignment with an additive score and the filters that `model.location_aware` describes."""
    options = config.location_aware
    normaliser = make_normaliser(config, 1, states_dim)
    return LocationAwareAlignment(cast(AdditiveScore, score), options.filters, options.radius, normaliser)
