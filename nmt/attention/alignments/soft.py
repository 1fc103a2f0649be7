"""Soft alignment: the context is a weighted sum of all source states (Bahdanau et al. 2015, eqs. 5-6)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.alignments.base import AlignmentMemory, Weigh, WeightedAlignment
from nmt.attention.normalisers import make_normaliser
from nmt.attention.patterns import bias_of
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class SoftAlignment(WeightedAlignment):
    """Soft alignment: c_i = sum_j alpha_ij h_j with alpha_i = softmax(e_i) (Bahdanau et al. 2015, eqs. 5-6).

    Another normaliser can take the place of the softmax.
    """

    def weighing(self, memory: AlignmentMemory) -> Weigh:
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]

        def weigh(scores: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
            weights: Tensor = self.normaliser(scores, bias)
            return weights

        return weigh


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SoftAlignment:
    """Return the soft alignment with this score and the normaliser that `model.normaliser` names."""
    return SoftAlignment(score, make_normaliser(config, 1, states_dim))
