"""Raffel et al. 2020, Exploring the Limits of Transfer Learning, section 2.1, and the buckets of its authors' code."""

from __future__ import annotations

import math

from torch import Tensor

from tests.attention.papers.self_attention import Weights, self_attention


def bucket(relative_position: int, bidirectional: bool, num_buckets: int, max_distance: int) -> int:
    """Return the bucket of a key at query position + relative_position.

    Half of the buckets are for exact distances; "ranges increase in size logarithmically up to an offset" of
    max_distance, "beyond which we assign all relative positions to the same embedding".
    """
    first, n = 0, -relative_position
    if bidirectional:
        num_buckets //= 2
        if n < 0:
            first, n = num_buckets, -n
    else:
        n = max(n, 0)
    max_exact = num_buckets // 2
    if n < max_exact:
        return first + n
    # the edges of the remaining ranges, in equal steps of the logarithm
    ranges = num_buckets - max_exact
    edges = [max_exact * math.exp(math.log(max_distance / max_exact) * k / ranges) for k in range(ranges)]
    return first + max_exact + sum(edge <= n * (1 + 1e-12) for edge in edges) - 1


def t5_attention(
    x: Tensor,
    positions: list[int],
    weights: Weights,
    num_heads: int,
    causal: bool,
    embeddings: Tensor,
    max_distance: int,
) -> Tensor:
    """Compute self-attention of one sentence; embeddings [num_buckets, heads] are scalars "added to the logit"."""

    def score(head: int, i: int, j: int, q: Tensor, k: Tensor) -> Tensor:
        number = bucket(j - i, not causal, len(embeddings), max_distance)
        return (q * k).sum() / math.sqrt(len(q)) + embeddings[number][head]

    return self_attention(x, positions, weights, num_heads, causal, score)
