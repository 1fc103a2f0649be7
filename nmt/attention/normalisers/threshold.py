"""What sparsemax, 1.5-entmax and entmax have in common: weights that are zero below a threshold.

They are members of one family with a parameter alpha > 1, from almost softmax (alpha near 1) to sparsemax (alpha = 2):
p_j = [(alpha - 1) z_j - tau]_+^{1 / (alpha - 1)}, where the threshold tau makes the weights sum to one (Peters et al.
2019).
"""

from __future__ import annotations

from torch import Tensor


def below_maximum(scores: Tensor, factor: float | Tensor = 1.0) -> Tensor:
    """Return factor * (scores - the largest score of the query), or -2 where this is less: values from -2 to 0.

    This changes no weight. Weights depend only on the differences between scores. The largest score is now 0, and as
    its weight cannot exceed one, tau is at least -1. So any score below -1 has a weight of zero, however low it is.
    """
    return (factor * (scores - scores.amax(dim=-1, keepdim=True))).clamp(min=-2)


def score_gradient(slopes: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of the scores, given that of the weights (Peters et al. 2019).

    It is (diag(s) - s s^T / sum_j s_j) g with the slopes s_j = p_j^{2 - alpha}, 0 where p_j = 0.
    """
    weighted = slopes * gradient
    return weighted - slopes * (weighted.sum(dim=-1, keepdim=True) / slopes.sum(dim=-1, keepdim=True))
