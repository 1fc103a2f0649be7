"""A dilated sliding window: a window with gaps (Beltagy et al. 2020, Longformer, section 3.1)."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class DilatedWindow(Pattern):
    """A query attends to itself and to `window` keys on either side, `dilation` positions apart.

    Key j is seen if i - j is a multiple of `dilation` and |i - j| <= window * dilation. So the window reaches
    `dilation` times as far as a sliding one with the same number of keys. What lies between has to come from layers of
    another kind: if all layers are dilated alike, positions at other distances never hear of each other.
    """

    def __init__(self, window: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.reach = window * dilation

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        assert self.reach is not None
        return ((i - j) % self.dilation == 0) & ((i - j).abs() <= self.reach)


def make(config: TransformerConfig, place: Place) -> DilatedWindow:
    """Return the dilated window that `model.dilated` describes."""
    return DilatedWindow(config.dilated.window, config.dilated.dilation)
