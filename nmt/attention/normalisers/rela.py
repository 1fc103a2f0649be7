"""Rectified linear attention, ReLA: a ReLU instead of the softmax (Zhang, Titov and Sennrich 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.precision import wide
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig

_EPSILON = 1e-8  # a query may have no weights at all; its context is then zero


class Rela(Normaliser):
    """p_j = ReLU(z_j), and a normalisation of the context c with a gate (Zhang, Titov and Sennrich 2021).

    LN(c) = sigmoid(w * c) * c / RMS(c) * g, where RMS(c) is the root of the mean of the squares of c (ReLA-g in the
    paper). The weights of a query sum to any number; they are all zero if no score is positive.
    """

    sums_to_one = False

    def __init__(self, context_dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(context_dim))  # g
        # w, with the initialisation of the authors' code
        self.gate = nn.Parameter(torch.empty(context_dim).uniform_(-1, 1) * math.sqrt(3 / context_dim))

    def weights(self, scores: Tensor) -> Tensor:
        return scores.relu()

    def of_context(self, context: Tensor) -> Tensor:
        """Return LN(context) [..., context_dim], with all heads normalised together."""
        c = wide(context)
        normalised = c * (c.square().mean(dim=-1, keepdim=True) + _EPSILON).rsqrt()
        return (torch.sigmoid(self.gate * c) * normalised * self.gain).to(context.dtype)


def make(config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int) -> Rela:
    """Return ReLA for contexts of this size."""
    return Rela(context_dim)
