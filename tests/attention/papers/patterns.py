"""Which keys a query sees in the patterns of several papers: functions of (query position, key position, length)."""

from __future__ import annotations

from tests.attention.papers.self_attention import SeesOf


def sliding(window: int) -> SeesOf:
    """Beltagy et al. 2020: the neighbours at either side."""

    def sees(i: int, j: int, length: int) -> bool:
        return j in range(i - window, i + window + 1)

    return sees
