"""Soft alignment: the context is a weighted sum of all source states (Bahdanau et al. 2015, eqs. 5-6)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.alignments.base import AlignmentMemory, ScoredAlignment
from nmt.attention.contract import Attend, Attended, MechanismState
from nmt.attention.normalisers import softmax
from nmt.attention.patterns import bias_of
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class SoftAlignment(ScoredAlignment):
    """Soft alignment: c_i = sum_j alpha_ij h_j with alpha_i = softmax(e_i) (Bahdanau et al. 2015, eqs. 5-6)."""

    def over(self, memory: AlignmentMemory, *, need_weights: bool = False) -> Attend:
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]
        states = memory.states.to(memory.keys.dtype)  # once: autocast would keep a copy of the states for each step

        def attend(x: Tensor, positions: Tensor, state: MechanismState = None) -> Attended:
            rows, tgt_len, dim = x.shape
            # weights; the hypotheses of a sentence are treated as additional queries, so the memory is never repeated
            scores = self.score(x.reshape(memory.mask.size(0), -1, dim), memory.keys)
            weights = softmax(scores, bias)
            # contexts
            context = weights.to(states.dtype) @ states
            return Attended(context.reshape(rows, tgt_len, -1), weights.reshape(rows, 1, tgt_len, -1))

        return attend


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SoftAlignment:
    """Return the soft alignment with this score."""
    return SoftAlignment(score)
