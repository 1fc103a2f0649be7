"""Hard-coded Gaussian attention: weights that no one has to learn (You et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.contract import Mixer
from nmt.attention.heads import Heads
from nmt.attention.mixers.softmax import last_positions
from nmt.attention.precision import wide_dtype
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Values(NamedTuple):
    """The state of hard-coded attention: the values of the last positions."""

    values: Tensor  # [rows, heads, length, head_dim]
    forgotten: Tensor  # [rows, number of earlier positions, 0]: no numbers, only a size


class HardCodedAttention(Mixer):
    """Attention without queries and keys: each head always looks at the same place relative to the query.

    The weight of position j for position i is the density at j of a Gaussian around i + o with standard deviation
    sigma, where o is the head's offset (You et al. 2020). As in the authors' code, densities are not normalised again
    after padding and the future have been cut off, so that weights sum to about one in the middle of a sentence and to
    less at its ends, and dropout is not applied to them. Beyond `reach` positions densities are below 1e-17 of the
    highest one, and are taken as zero, so that search need not remember more than `reach` values.
    """

    sums_to_one = False

    def __init__(self, heads: Heads, offsets: Sequence[int], sigma: float, causal: bool = False) -> None:
        """Create the attention; heads take turns with the offsets, from the first to the last and again."""
        super().__init__()
        self.heads = heads
        self.offsets = [offsets[head % len(offsets)] for head in range(heads.num_heads)]
        self.sigma = sigma
        self.causal = causal
        self.reach = max(abs(offset) for offset in offsets) + math.ceil(9 * sigma)
        model_dim = heads.num_heads * heads.head_dim
        self.value_projection = nn.Linear(model_dim, model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def init_state(self, rows: int, like: Tensor) -> Values:
        return Values(
            like.new_empty(rows, self.heads.num_heads, 0, self.heads.head_dim),
            like.new_empty(rows, 0, 0),
        )

    def state_bytes(self, length: int) -> int:
        return 4 * min(length, self.reach) * self.output_projection.in_features

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: Values | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, Values | None, Tensor | None]:
        # values and their positions
        (value,) = self.heads.split(self.value_projection(x), (self.heads.num_heads,))
        forgotten = 0
        if state is not None:
            value = torch.cat((state.values.to(value.dtype), value), dim=2)
            forgotten = state.forgotten.size(1)
            state = self._remembered(value, state.forgotten)
        # weights, contexts and outputs
        value_positions = last_positions(positions, value.size(2))
        weights = self._weights(positions, value_positions, wide_dtype(value))
        if mask is not None:
            weights = weights * mask[:, None, None]
        context = weights.to(value.dtype) @ value
        output = self.output_projection(self.heads.merge(context))
        if not need_weights:
            return output, state, None
        return output, state, nn.functional.pad(weights.expand(x.size(0), -1, -1, -1), (forgotten, 0))

    def _weights(self, positions: Tensor, value_positions: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the densities [rows or 1, heads, length, positions of values] in `dtype`."""
        distances = (value_positions.unsqueeze(1) - positions.unsqueeze(2)).unsqueeze(1)  # j - i
        offsets = torch.tensor(self.offsets, device=positions.device).view(-1, 1, 1)
        deviations = (distances - offsets).to(dtype) / self.sigma
        densities = torch.exp(-(deviations**2) / 2) / (self.sigma * math.sqrt(2 * math.pi))
        seen = distances.abs() <= self.reach
        if self.causal:
            seen = seen & (distances <= 0)
        return densities * seen

    def _remembered(self, value: Tensor, forgotten: Tensor) -> Values:
        """Return the values that later positions may need."""
        first = max(0, value.size(2) - self.reach)
        return Values(value[:, :, first:], forgotten.new_empty(forgotten.size(0), forgotten.size(1) + first, 0))


def make(config: TransformerConfig, place: Place) -> HardCodedAttention:
    """Return the hard-coded attention of one layer, which `model.hard_coded` describes."""
    options = config.hard_coded
    offsets = options.decoder_offsets if place.causal else options.encoder_offsets
    return HardCodedAttention(Heads(config.model_dim, config.num_heads), offsets, options.sigma, place.causal)
