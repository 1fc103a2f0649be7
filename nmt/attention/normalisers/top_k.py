"""Top-k softmax: a softmax over the k keys with the largest scores (Zhao et al. 2019, Explicit Sparse Transformer)."""

from __future__ import annotations

import math

from torch import Tensor

from nmt.attention.normalisers.base import Normaliser
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig

_EQUAL = 1e-4  # scores that differ by less count as equal


class TopK(Normaliser):
    """p = softmax(M(z, k)) with M(z, k)_j = z_j where z_j is at least the k-th largest score, and else minus infinity.

    If several scores equal the k-th largest, more than k keys have a weight (Zhao et al. 2019). Scores that
    differ by less than 0.0001 count as equal here. Otherwise rounding errors would decide between two keys that are the
    same word at the same distance, and the other sentences of a batch could change the weights.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def weights(self, scores: Tensor) -> Tensor:
        least = scores.topk(min(self.k, scores.size(-1)), dim=-1).values[..., -1:]
        return scores.masked_fill(scores < least - _EQUAL, -math.inf).softmax(dim=-1)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> TopK:
    """Return the softmax over as many keys as `model.top_k` says."""
    return TopK(config.top_k.k)
