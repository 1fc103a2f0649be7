"""Talking heads: heads exchange their scores before, and their weights after the normaliser (Shazeer et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention.normalisers.base import Normaliser
from nmt.attention.precision import wide


class TalkingHeads(Normaliser):
    """A normaliser between two learned mixtures of heads (Shazeer et al. 2020).

    J_i [queries, keys] are the scores of head i. For head h, the normaliser reads sum_i P_l[i, h] J_i + bias and
    returns the weights W_h [queries, keys]. Head h then reads its values with the weights sum_i P_w[i, h] W_i. P_l and
    P_w, both [heads, heads], are the identity at the start, so that each head is by itself. Mixed weights do not sum to
    one, and can be negative.
    """

    sums_to_one = False
    not_decayed = ("of_scores", "of_weights")  # weight decay would pull them from the identity to zero

    def __init__(self, heads: int, within: Normaliser) -> None:
        """Create talking heads around the normaliser `within`."""
        super().__init__()
        self.within = within
        self.of_scores = nn.Parameter(torch.eye(heads))  # P_l
        self.of_weights = nn.Parameter(torch.eye(heads))  # P_w

    def forward(self, scores: Tensor, bias: Tensor | None = None) -> Tensor:
        mixed = torch.einsum("riqk,ih->rhqk", wide(scores), wide(self.of_scores))
        mixed_weights: Tensor = torch.einsum("riqk,ih->rhqk", self.within(mixed, bias), wide(self.of_weights))
        return mixed_weights

    def weights(self, scores: Tensor) -> Tensor:
        weights: Tensor = self(scores)
        return weights

    def of_context(self, context: Tensor) -> Tensor:
        return self.within.of_context(context)
