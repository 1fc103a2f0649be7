"""The random synthesizer: scores that are learned for pairs of positions and read no word (Tay et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.normalisers import Normaliser
from nmt.attention.synthesizer import Synthesizer, common_parts
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class RandomSynthesizer(Synthesizer):
    """A synthesizer with scores B = R, a learned matrix for each head, which begins at random (Random Synthesizer).

    R has max_length rows. Words at later positions attend as the word at the last of these does.
    """

    def __init__(
        self, model_dim: int, num_heads: int, max_length: int, causal: bool, dropout: float, normaliser: Normaliser
    ) -> None:
        super().__init__(model_dim, num_heads, max_length, causal, dropout, normaliser)
        self.r = nn.Parameter(torch.empty(num_heads, max_length, max_length))
        for head in self.r.detach():
            nn.init.xavier_uniform_(head)

    def scores(self, x: Tensor, start: int) -> Tensor:
        rows = torch.arange(start, start + x.size(1), device=x.device).clamp(max=self.max_length - 1)
        return self.r[:, rows].unsqueeze(0)


def make(config: TransformerConfig, place: Place) -> RandomSynthesizer:
    """Return the random synthesizer of one layer."""
    max_length = config.synthesizer_random.max_length
    return RandomSynthesizer(config.model_dim, config.num_heads, max_length, *common_parts(config, place))
