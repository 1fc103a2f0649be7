"""The keys that a query sees, or prefers, in the patterns of several papers.

Sights are functions of (query position, key position, length).

In a decoder, the length is that of the sentence up to the query.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tests.attention.papers.self_attention import ScoreOf, SeesOf, Weights, plain_score


def sliding(window: int) -> SeesOf:
    """Beltagy et al. 2020: the neighbours at either side."""

    def sees(i: int, j: int, length: int) -> bool:
        return j in range(i - window, i + window + 1)

    return sees


def dilated(window: int, dilation: int) -> SeesOf:
    """Beltagy et al. 2020: neighbours at either side, with gaps between them."""

    def sees(i: int, j: int, length: int) -> bool:
        return j in [i + step * dilation for step in range(-window, window + 1)]

    return sees


def blocks(size: int) -> SeesOf:
    """Liu et al. 2018: the keys of the block in which the query is."""

    def sees(i: int, j: int, length: int) -> bool:
        starts = range(0, max(i, j) + 1, size)
        return any(i in range(start, start + size) and j in range(start, start + size) for start in starts)

    return sees


def strided(stride: int) -> SeesOf:
    """Child et al. 2019: the union of A(1), a window, and A(2), steps of the stride; here on both sides of the query.

    In a decoder, `self_attention` leaves the side before the query.
    """

    def sees(i: int, j: int, length: int) -> bool:
        before, after = max(0, i - stride), i + stride
        if j <= i:
            return before <= j <= i or j in range(i, -1, -stride)
        return i <= j <= after or i in range(j, -1, -stride)

    return sees


def window_global(window: int, tokens: int) -> SeesOf:
    """Beltagy et al. 2020: a window, and symmetric attention of the global positions."""

    def sees(i: int, j: int, length: int) -> bool:
        global_positions = list(range(tokens))
        return sliding(window)(i, j, length) or i in global_positions or j in global_positions

    return sees


def bigbird(block: int, window: int, first: int, draws: int, seed: int) -> SeesOf:
    """Zaheer et al. 2020: blocks in a window, global blocks, and random blocks."""

    def number(query_block: int, draw: int) -> int:
        """Return the random number of a draw, which the paper leaves open."""
        x = (seed * 2654435761 + query_block * 2246822519 + draw * 3266489917) % 2**32
        for _ in range(2):
            x = (x ^ (x // 2**16)) * 73244475 % 2**32
        return x ^ (x // 2**16)

    def sees(i: int, j: int, length: int) -> bool:
        query_block, key_block = i // block, j // block
        seen = [*range(query_block - window, query_block + window + 1), *range(first)]
        others = [other for other in range(math.ceil(length / block)) if other not in seen]
        if others:
            seen += [others[number(query_block, draw) % len(others)] for draw in range(draws)]
        return query_block < first or key_block in seen

    return sees


def fixed_gaussian(sigma: float, penalty: float) -> ScoreOf:
    """Guo et al. 2019: the score of a Gaussian prior, with w = 1 / (2 sigma^2) and b = -penalty."""

    def score(head: int, i: int, j: int, q: Tensor, k: Tensor) -> Tensor:
        return plain_score(head, i, j, q, k) - abs((i - j) ** 2 / (2 * sigma**2) - penalty)

    return score


class Localness(NamedTuple):
    """The weights of Yang et al. 2018, with the biases of the authors' code."""

    w_p: Tensor  # [dim, dim]
    w_p_bias: Tensor
    u_p: Tensor  # [heads, dim]
    u_p_bias: Tensor
    u_d: Tensor
    u_d_bias: Tensor


def learned_gaussian(x: Tensor, positions: list[int], weights: Weights, localness: Localness, causal: bool) -> ScoreOf:
    """Yang et al. 2018: scores with the bias of a predicted centre and window, for one sentence."""
    queries = {i: weights.query @ x[at] + weights.query_bias for at, i in enumerate(positions)}

    def score(head: int, i: int, j: int, q: Tensor, k: Tensor) -> Tensor:
        length = i + 1 if causal else len(x)
        inner = torch.tanh(localness.w_p @ queries[i] + localness.w_p_bias)
        p_i = localness.u_p[head] @ inner + localness.u_p_bias[head]
        z_i = localness.u_d[head] @ inner + localness.u_d_bias[head]
        centre = (length - 1) / (1 + torch.exp(-p_i))
        sigma = length / (1 + torch.exp(-z_i)) / 2
        return plain_score(head, i, j, q, k) - (j - centre) ** 2 / (2 * sigma**2)

    return score
