"""The interface of normalisers, and the function that makes the one that `model.normaliser` names."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from nmt.attention.naming import make_by_name
from nmt.attention.precision import wide
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig


class Normaliser(nn.Module, ABC):
    """A function from scores to weights. The weights depend on the scores of one query alone.

    Weights are never negative, except in `TalkingHeads`, which mixes those of several heads. Attention calls the
    normaliser on the scores, multiplies the weights with the values, and calls `of_context` on the result.
    """

    sums_to_one: ClassVar[bool] = True  # whether the weights of a query sum to one; otherwise to any number
    fused: ClassVar[bool] = False  # whether torch has fused attention with it: only with softmax

    def forward(self, scores: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the weights for scores [..., queries, keys] + bias, in float32 or better.

        The weight of a key is zero where the bias, which broadcasts to the scores, is minus infinity. If it is minus
        infinity for all keys of a query, all weights of this query are zero.
        """
        scores = wide(scores)
        if bias is None:
            return self.weights(scores)
        sees_something = bias.amax(dim=-1, keepdim=True) > -math.inf
        weights = self.weights(torch.where(sees_something, scores + bias, 0.0))
        return torch.where(sees_something, weights, 0.0)

    @abstractmethod
    def weights(self, scores: Tensor) -> Tensor:
        """Return the weights for scores [..., queries, keys] in float32 or better.

        Scores may be minus infinity, but not all scores of a query.
        """

    def of_context(self, context: Tensor) -> Tensor:
        """Return what attention gives for context [..., context_dim], the heads side by side: by default the same."""
        return context


def make_normaliser(
    config: RnnSearchConfig | LuongConfig | TransformerConfig, heads: int, context_dim: int
) -> Normaliser:
    """Return the normaliser that `model.normaliser` names, made by the file of that name in this folder.

    It is for one place of attention with this many heads, whose contexts side by side have context_dim features.
    """
    return cast(Normaliser, make_by_name("normalisers", config.normaliser, config, heads, context_dim))
