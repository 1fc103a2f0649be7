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
