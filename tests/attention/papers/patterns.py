"""Which keys a query sees in the patterns of several papers: functions of (query position, key position, length)."""

from __future__ import annotations

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
