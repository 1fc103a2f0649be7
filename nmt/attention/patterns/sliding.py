"""A sliding window: attention to the neighbours of each position (Beltagy et al. 2020, Longformer, section 3.1)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class SlidingWindow(Pattern):
    """A query attends to keys that are at most `window` positions away: |i - j| <= window.

    With n layers, what a position sees of the others reaches n times as far. A decoder remembers the last `window`
    positions only.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.reach = window

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        assert self.reach is not None
        return (i - j).abs() <= self.reach


def make(config: TransformerConfig, place: Place) -> SlidingWindow:
    """Return the window that `model.sliding` describes."""
    return SlidingWindow(config.sliding.window)
