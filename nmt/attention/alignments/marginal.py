"""Hard attention with its exact marginal likelihood (Deng et al. 2018, section 2; Wu, Shapiro and Cotterell 2018).

Each target position t is aligned with exactly one source position a_t, a latent variable with p(a_t = j) = alpha_tj.
Predictions sum over all its values: p(y_t) = sum_j alpha_tj p(y_t | h_t, state_j).
"""

from __future__ import annotations

from torch import Tensor

from nmt.attention.alignments.base import AlignmentMemory, ScoredAlignment
from nmt.attention.contract import Attend, Attended, MechanismState
from nmt.attention.normalisers import log_softmax
from nmt.attention.patterns import bias_of
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class MarginalAlignment(ScoredAlignment):
    """A mixture of src_len predictions, one per source position, whose context is the state at that position."""

    def over(self, memory: AlignmentMemory, *, need_weights: bool = False) -> Attend:
        batch, src_len = memory.mask.shape
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]

        def attend(x: Tensor, positions: Tensor, state: MechanismState = None) -> Attended:
            rows, tgt_len, dim = x.shape
            # log-weights log alpha_tj; the hypotheses of a sentence are treated as additional queries
            scores = self.score(x.reshape(batch, -1, dim), memory.keys)
            log_weights = log_softmax(scores, bias).reshape(rows, tgt_len, src_len)
            # contexts: every source state, for each target position
            states = memory.states.unsqueeze(1).expand(-1, rows // batch * tgt_len, -1, -1)
            context = states.reshape(rows, tgt_len, src_len, -1)
            return Attended(context, log_weights.exp().unsqueeze(1), mixture=log_weights)

        return attend


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> MarginalAlignment:
    """Return the marginal alignment with this score."""
    return MarginalAlignment(score)
