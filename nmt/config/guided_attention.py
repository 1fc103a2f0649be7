"""The options of guided attention, `training.guided_attention`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from nmt.config.data import DataConfig
from nmt.config.heads import check_not_removed
from nmt.config.mechanisms import Place, unguided
from nmt.config.models import ModelConfig, TransformerConfig
from nmt.config.ranges import Count, Range
from nmt.errors import require


@dataclass(kw_only=True)
class GuidedAttentionConfig:
    """Guided attention: a loss for attention that differs from the word alignments of the training text.

    The alignments are files named by data.train[N].alignments; pairs without links add nothing (docs/align.md).
    """

    weight: Annotated[float, Range(0, 1000)] = 0.0  # factor of the loss per target token; 0: off
    decay_steps: Count | None = None  # the weight falls linearly to 0 over this many updates; null: it stays
    layer: Count | None = None  # Transformer: the decoder layer that is guided, from 1; null: the last but one
    heads: list[Count] = field(default_factory=lambda: [1])  # Transformer: the heads of that layer that are guided

    def check(self, data: DataConfig, model: ModelConfig) -> None:
        """Raise ConfigError if guided attention is on, but there are no alignments or no attention to guide."""
        name = "training.guided_attention"
        if not self.weight:
            return
        require(
            data.path is None and any(corpus.alignments is not None for corpus in data.train),
            f"{name}.weight={self.weight:g} needs word alignments: name a file of links in data.train[N].alignments"
            f"{', and leave data.path out' if data.path is not None else ''}",
        )
        reason = unguided(model)
        require(reason is None, f"{name}.weight={self.weight:g} {reason}")
        if not isinstance(model, TransformerConfig):
            alone = self.layer in (None, 1) and self.heads == [1]
            require(
                alone,
                f"{name}: a {model.family} model has one layer of attention with one head: leave out layer and heads",
            )
            return
        layers, heads = model.decoder_layers, model.num_heads
        require((self.layer or 1) <= layers, f"{name}.layer={self.layer}: the decoder has {layers} layers")
        require(
            bool(self.heads) and len(set(self.heads)) == len(self.heads) and max(self.heads) <= heads,
            f"{name}.heads={self.heads}: expected different numbers from 1 to {heads}, the number of heads",
        )
        layer = max(layers - 2, 0) if self.layer is None else self.layer - 1
        check_not_removed(model, Place("decoder_cross", layer), self.heads, f"{name}.heads")
