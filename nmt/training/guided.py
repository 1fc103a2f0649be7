"""Guided attention: attention to the source is trained on word alignments, too (Chen et al. 2016; Liu et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from nmt.attention.losses import guided
from nmt.config.schema import TrainingConfig
from nmt.models.contract import Decoded, NamedLoss, OneLayer

NAME = "guided_attention"  # of the loss, in logs


@dataclass(frozen=True)
class Guidance:
    """The loss of guided attention, and which of the attention weights it is about."""

    weight: float
    need: OneLayer  # what has to be requested from the decoder
    heads: list[int]  # counted from 0
    decay_steps: int | None = None  # the weight falls to 0 over this many updates

    @classmethod
    def of(cls, config: TrainingConfig) -> Guidance | None:
        """Return what a configuration describes, or None if it has no guided attention."""
        chosen = config.guided_attention
        if not chosen.weight:
            return None
        layer = None if chosen.layer is None else chosen.layer - 1
        return cls(chosen.weight, OneLayer(layer), [head - 1 for head in chosen.heads], chosen.decay_steps)

    def after(self, updates: int) -> Guidance:
        """Return the guidance of the update after this many: with decay_steps, its weight falls linearly to 0."""
        if self.decay_steps is None:
            return self
        return replace(self, weight=self.weight * max(0.0, 1 - updates / self.decay_steps))

    def loss(self, decoded: Decoded, links: Tensor) -> NamedLoss:
        """Return the loss of a batch with these links, for what the decoder returned when `need` was requested."""
        assert decoded.weights is not None, "its weights were requested"
        weights = decoded.weights[:, 0, self.heads]  # [rows, heads, tgt_len, src_len]
        return NamedLoss(NAME, self.weight, lambda log_probs, mask: guided(weights, links))
