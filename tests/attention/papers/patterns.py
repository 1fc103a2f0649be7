"""Which keys a query sees in the patterns of several papers: functions of (query position, key position, length).

In a decoder, the length is that of the sentence up to the query.
"""

from __future__ import annotations

import math

from tests.attention.papers.self_attention import SeesOf


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
