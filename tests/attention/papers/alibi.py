"""Press et al. 2022, Train Short, Test Long: section 3, and the slopes of its authors' code for any number of heads."""

from __future__ import annotations

import math

from torch import Tensor

from tests.attention.papers.self_attention import Weights, self_attention


def slopes(n: int) -> list[float]:
    """Return the slopes like `get_slopes` in the authors' code: a geometric sequence that starts at its own ratio."""

    def of_power_of_2(n: int) -> list[float]:
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n).is_integer():
        return of_power_of_2(n)
    closest = 2 ** math.floor(math.log2(n))
    return of_power_of_2(closest) + slopes(2 * closest)[0::2][: n - closest]


def alibi_attention(x: Tensor, positions: list[int], weights: Weights, num_heads: int, causal: bool) -> Tensor:
    """Compute self-attention of one sentence with softmax(q_i K^T + m [-(i - 1), ..., -2, -1, 0]).

    In addition to the paper, keys after the query get the same penalty as keys at the same distance before it.
    """

    def score(head: int, i: int, j: int, q: Tensor, k: Tensor) -> Tensor:
        distance = i - j if j <= i else j - i
        return (q * k).sum() / math.sqrt(len(q)) - slopes(num_heads)[head] * distance

    return self_attention(x, positions, weights, num_heads, causal, score)
