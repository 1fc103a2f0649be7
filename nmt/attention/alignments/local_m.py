"""Local attention with monotonic alignment, local-m (Luong et al. 2015, section 3.2).

At target position t, only the source words near an aligned position p_t can be attended to. p_t moves through the
source at a fixed speed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.attention.alignments.base import AlignmentMemory, Weigh, WeightedAlignment
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.attention.patterns import bias_of
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class LocalMonotonicAlignment(WeightedAlignment):
    """Soft alignment to the words in the window [p_t - D, p_t + D] around p_t (Luong et al. 2015, section 3.2).

    p_t = t in the paper, and p_t = ratio * t here; t is counted from 0. Words outside the sentence are left out of the
    window. When p_t would leave the sentence, which the paper does not discuss, it stays at the last word, so that a
    window is never empty.
    """

    def __init__(self, score: Score, window: int, ratio: float, normaliser: Normaliser | None = None) -> None:
        super().__init__(score, normaliser)
        self.window = window  # D
        self.ratio = ratio

    def weighing(self, memory: AlignmentMemory) -> Weigh:
        last = memory.mask.sum(1, keepdim=True) - 1  # [batch, 1], the last position of each sentence
        source = torch.arange(memory.mask.size(1), device=memory.mask.device)
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]

        def weigh(scores: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
            # aligned positions p_t [batch, queries]
            aligned = torch.minimum(self.ratio * positions, last)
            # weights in the window
            near = (source - aligned.unsqueeze(2)).abs() <= self.window
            weights: Tensor = self.normaliser(scores, bias + bias_of(near))
            return weights

        return weigh


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> LocalMonotonicAlignment:
    """Return the local alignment with this score and the options in `model.local_m`."""
    options, normaliser = config.local_m, make_normaliser(config, 1, states_dim)
    return LocalMonotonicAlignment(score, options.window, options.ratio, normaliser)
