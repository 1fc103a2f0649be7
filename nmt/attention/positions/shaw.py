"""Relative positions in keys and values (Shaw et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmt.attention.positions.base import Positions
from nmt.config.models import TransformerConfig


class RelativeKeys(Positions):
    """A learned vector a^K for each distance j - i, added to key j as query i meets it (Shaw et al. 2018, eq. 4).

    The heads of a layer share them. Distances beyond k, in either direction, count as k (section 3.2). The paper does
    not say how the vectors begin. Here they begin as the matrices of the model do (Glorot and Bengio 2010), which makes
    them a fraction of a key at first: distances have a say in the scores from the start, and words a larger one.
    """

    enters_scores = True

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.keys = _table(max_distance, head_dim)  # a^K

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        # the second term of eq. 5: each query with the vectors of all distances, of which each pair takes its own
        of_distances = query @ self.keys.mT / math.sqrt(query.size(-1))  # [rows, heads, queries, 2k + 1]
        return of_distances.gather(-1, self.of_pairs(query, query_positions, key_positions))

    def of_pairs(self, like: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Return clip(j - i, -k, k) + k, the row of a table for query i and key j: [rows, heads, queries, keys].

        `like` is [rows, heads, ...].
        """
        distances = key_positions.unsqueeze(1) - query_positions.unsqueeze(2)  # [rows or 1, queries, keys]
        clipped = distances.clamp(-self.max_distance, self.max_distance) + self.max_distance
        return clipped.unsqueeze(1).expand(like.size(0), like.size(1), -1, -1)


class RelativeKeysAndValues(RelativeKeys):
    """Relative keys, and a vector a^V for each distance, added to the values that a query receives (eq. 3)."""

    changes_values = True

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__(head_dim, max_distance)
        self.values = _table(max_distance, head_dim)  # a^V

    def of_values(self, weights: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        # the second term of eq. 3: weights are added up for each distance, in the type of the table
        none = self.values.new_zeros(*weights.shape[:3], len(self.values))
        pairs = self.of_pairs(weights, query_positions, key_positions)
        of_distances = none.scatter_add(-1, pairs, weights.to(none.dtype))  # [rows, heads, queries, 2k + 1]
        return of_distances @ self.values


def _table(max_distance: int, head_dim: int) -> nn.Parameter:
    """Return a vector for each distance from -k to k: [2k + 1, head_dim]."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * max_distance + 1, head_dim)))


def in_attention(config: TransformerConfig) -> RelativeKeys:
    """Return the relative positions of one layer."""
    kind = RelativeKeysAndValues if config.shaw.values else RelativeKeys
    return kind(config.model_dim // config.num_heads, config.shaw.max_distance)
