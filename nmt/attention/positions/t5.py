"""Relative position buckets (Raffel et al. 2020, T5, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from nmt.attention.positions.base import Positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class BucketBiases(Positions):
    """A learned number for each head and bucket of distances, added to the scores.

    Small distances have a bucket each. The ranges of the other buckets grow logarithmically up to max_distance, from
    which on all distances are in the last bucket. In an encoder, keys before and after the query have half of the
    buckets each. In the paper all layers share their biases; here each layer has its own, like with other positions.
    Unlike T5, the scores are divided by sqrt(head_dim) before.
    """

    enters_scores = True
    not_decayed = ("biases",)
    buckets: Tensor  # [max_distance + 1], the bucket of each distance

    def __init__(self, model_dim: int, num_heads: int, num_buckets: int, max_distance: int, causal: bool) -> None:
        super().__init__()
        self.max_distance = max_distance
        # where the buckets of keys after the query begin, which a decoder does not have
        self.first_after = None if causal else num_buckets // 2
        of_distances = buckets(num_buckets if causal else num_buckets // 2, max_distance)
        self.register_buffer("buckets", torch.tensor(of_distances), persistent=False)
        # the paper does not say how biases begin; its authors' code has this standard deviation
        self.biases = nn.Parameter(nn.init.normal_(torch.empty(num_buckets, num_heads), std=model_dim**-0.5))

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        ahead = key_positions.unsqueeze(1) - query_positions.unsqueeze(2)  # [rows or 1, queries, keys]
        found = self.buckets[ahead.abs().clamp(max=self.max_distance)]
        if self.first_after is not None:
            found = torch.where(ahead > 0, found + self.first_after, found)
        return embedding(found, self.biases).movedim(-1, 1)


def buckets(num_buckets: int, max_distance: int) -> list[int]:
    """Return the bucket of each distance 0, ..., max_distance in one direction, as in the authors' code.

    Distances n below e, half of the number of buckets, have bucket n. The others have bucket
    e + floor(log(n / e) / log(max_distance / e) (num_buckets - e)), at most num_buckets - 1. Here the logarithms are
    comparisons of whole numbers, so that rounding moves no distance to another bucket.
    """
    exact = num_buckets // 2
    larger = num_buckets - exact
    found = list(range(exact))
    step = 0
    for distance in range(exact, max_distance + 1):
        # log(n / e) / log(max_distance / e) >= (step + 1) / larger, without logarithms and fractions
        while step + 1 < larger and distance**larger >= max_distance ** (step + 1) * exact ** (larger - step - 1):
            step += 1
        found.append(exact + step)
    return found


def in_attention(config: TransformerConfig, place: Place) -> BucketBiases:
    """Return the biases of one layer."""
    options = config.t5
    return BucketBiases(config.model_dim, config.num_heads, options.num_buckets, options.max_distance, place.causal)
