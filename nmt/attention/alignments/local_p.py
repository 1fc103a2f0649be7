"""Local attention with predictive alignment, local-p (Luong et al. 2015, section 3.2).

At each target position the model predicts an aligned position p_t in the source, and attends to the words near it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.alignments.base import AlignmentMemory, Weigh, WeightedAlignment
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.attention.patterns import bias_of
from nmt.attention.precision import wide
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class LocalPredictiveAlignment(WeightedAlignment):
    """Soft alignment in the window [p_t - D, p_t + D], times a Gaussian around p_t (Luong et al. 2015, eqs. 9-10).

    p_t = S sigmoid(v_p . tanh(W_p h_t)) for a sentence of S words, whose positions s are counted from 0.
    a_t(s) = align(h_t, h_s) exp(-(s - p_t)^2 / (2 sigma^2)) with sigma = D / 2, where align is the softmax, or
    another normaliser, over the window. As in the paper, the weights are not normalised again, so that their sum is
    below one (with a softmax). The Gaussian is what lets p_t learn: the window itself has no gradient.
    """

    sums_to_one = False

    def __init__(self, score: Score, query_dim: int, window: int, normaliser: Normaliser | None = None) -> None:
        super().__init__(score, normaliser)
        self.window = window  # D
        self.position_projection = nn.Linear(query_dim, query_dim, bias=False)  # W_p
        self.v_p = nn.Linear(query_dim, 1, bias=False)

    def weighing(self, memory: AlignmentMemory) -> Weigh:
        lengths = memory.mask.sum(1, keepdim=True)  # [batch, 1], S of each sentence
        source = torch.arange(memory.mask.size(1), device=memory.mask.device)
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]

        def weigh(scores: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
            # predicted positions p_t [batch, queries], and s - p_t [batch, queries, src_len]
            logits = self.v_p(torch.tanh(self.position_projection(queries))).squeeze(2)
            distance = source - (lengths * torch.sigmoid(wide(logits))).unsqueeze(2)
            # softmax over the window, times the Gaussian
            align: Tensor = self.normaliser(scores, bias + bias_of(distance.abs() <= self.window))
            return align * torch.exp(-distance.square() / (2 * (self.window / 2) ** 2))

        return weigh


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> LocalPredictiveAlignment:
    """Return the local alignment with this score and the window `model.local_p.window`."""
    normaliser = make_normaliser(config, 1, states_dim)
    return LocalPredictiveAlignment(score, config.hidden_dim, config.local_p.window, normaliser)
