"""Relative positions in keys and values (Shaw et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmt.attention.positions.base import Positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class RelativeKeys(Positions):
    """A learned vector a^K for each distance j - i, added to key j when query i reads it (Shaw et al. 2018, eq. 4).

    The heads of a layer share the vectors. Distances beyond max_distance (k in the paper) are clipped to k or -k
    (section 3.2). The paper does not say how the vectors are initialised. Here they are initialised like the matrices
    of the model (Glorot and Bengio 2010). Such vectors are small compared with the keys, so that at the start of
    training the scores depend more on the words than on their distances.
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
        # second term of eq. 5: score each query against all distances, then pick the distance of each key
        by_distance = query @ self.keys.mT / math.sqrt(query.size(-1))  # [rows, heads, queries, 2k + 1]
        return by_distance.gather(-1, self.of_pairs(query, query_positions, key_positions))

    def of_pairs(self, like: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Return which row of the table belongs to each pair of a query and a key: [rows, heads, queries, keys].

        For positions i and j this is row clip(j - i, -k, k) + k, where k is max_distance. It is the same for all heads,
        and is expanded to the number of rows and heads in `like` [rows, heads, ...].
        """
        distances = key_positions.unsqueeze(1) - query_positions.unsqueeze(2)  # [rows or 1, queries, keys]
        clipped = distances.clamp(-self.max_distance, self.max_distance) + self.max_distance
        return clipped.unsqueeze(1).expand(like.size(0), like.size(1), -1, -1)


class RelativeKeysAndValues(RelativeKeys):
    """Relative keys, and a learned vector a^V for each distance, added to the value that a query reads (eq. 3)."""

    changes_values = True

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__(head_dim, max_distance)
        self.values = _table(max_distance, head_dim)  # a^V

    def of_values(self, weights: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        # second term of eq. 3: sum the weights of each distance, in the dtype of the table
        zeros = self.values.new_zeros(*weights.shape[:3], len(self.values))
        pairs = self.of_pairs(weights, query_positions, key_positions)
        by_distance = zeros.scatter_add(-1, pairs, weights.to(zeros.dtype))  # [rows, heads, queries, 2k + 1]
        return by_distance @ self.values


def _table(max_distance: int, head_dim: int) -> nn.Parameter:
    """Return a table with one trainable vector for each distance from -k to k: [2k + 1, head_dim]."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * max_distance + 1, head_dim)))


def in_attention(config: TransformerConfig, place: Place) -> RelativeKeys:
    """Return the relative positions of one layer."""
    kind = RelativeKeysAndValues if config.shaw.values else RelativeKeys
    return kind(config.model_dim // config.num_heads, config.shaw.max_distance)
