"""Softmax: the weight of each key is proportional to exp(score), and never zero (Bahdanau et al. 2015, eq. 6)."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.precision import wide
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig


class Softmax(Normaliser):
    """p_j = exp(z_j) / sum_k exp(z_k) (Bahdanau et al. 2015, eq. 6)."""

    fused = True

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


_SOFTMAX = Softmax()


def softmax(scores: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(scores + bias) along the last axis; see `Normaliser.forward`."""
    return cast(Tensor, _SOFTMAX(scores, bias))


def log_softmax(scores: Tensor, bias: Tensor) -> Tensor:
    """Return the logarithms of the weights that `softmax` returns for queries that see at least one key."""
    return (wide(scores) + bias).log_softmax(dim=-1)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> Softmax:
    """Return the softmax."""
    return Softmax()
