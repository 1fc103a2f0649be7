"""Adaptive span: each head learns how far it attends (Sukhbaatar et al. 2019, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nmt.attention.contract import LearnsFromUpdates, Penalised
from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import AdaptiveSpanConfig


class AdaptiveSpan(Pattern, LearnsFromUpdates, Penalised):
    """A head with the learned span z sees keys at distance x with m_z(x) = clamp((R + z - x) / R, 0, 1).

    The weights of a query are m_z(x) exp(score), divided by their sum (section 2.2). So keys within the span count in
    full, those up to R further away less and less, and all others not at all. Here log m_z(x) is added to the scores,
    which is the same with a softmax and makes sense with the other normalisers. The paper covers decoders only. In an
    encoder distances count equally in both directions.

    The penalty of a layer is the mean span of its heads. As in the paper, what is learned is z / max_span, so
    that a step of the optimizer is a share of the longest span.
    """

    penalty_name = "span"

    def __init__(self, num_heads: int, options: AdaptiveSpanConfig) -> None:
        super().__init__()
        self.max_span = options.max_span
        self.ramp = options.ramp  # R
        self.penalty_weight = options.penalty
        self.reach = options.max_span + options.ramp - 1  # m_z is 0 beyond, even for the longest span
        self.shares = nn.Parameter(torch.full((num_heads,), options.initial / options.max_span))  # z / max_span

    @property
    def spans(self) -> Tensor:
        """The span z of each head [heads], between 0 and max_span."""
        return self.max_span * self.shares.clamp(0, 1)

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        distances = (query_positions.unsqueeze(2) - key_positions.unsqueeze(1)).abs()  # [rows or 1, queries, keys]
        span = self.spans[:, None, None]
        mask = ((self.ramp + span - distances.unsqueeze(1)) / self.ramp).clamp(0, 1)  # m_z [rows or 1, heads, ...]
        # where m_z is 0, its logarithm would have an infinite gradient
        return torch.where(mask > 0, torch.where(mask > 0, mask, 1.0).log(), -math.inf)

    def penalty(self) -> Tensor:
        return self.spans.mean()

    def after_update(self, losses: Mapping[str, Tensor]) -> None:
        """Bring spans back to the range from 0 to max_span, outside of which they would have no gradient."""
        self.shares.clamp_(0, 1)


def make(config: TransformerConfig, place: Place) -> AdaptiveSpan:
    """Return the spans of one layer, with the options in `model.adaptive_span`."""
    return AdaptiveSpan(config.num_heads, config.adaptive_span)
