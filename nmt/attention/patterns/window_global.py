"""A sliding window with global positions (Beltagy et al. 2020, Longformer, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.attention.patterns.base import Pattern
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class WindowAndGlobal(Pattern):
    """A query attends to keys at most `window` positions away, and the first `tokens` positions are global.

    Global positions attend to all positions, and all attend to them, so that any two positions are connected in two
    layers. Causality still holds in a decoder: there, all later positions see the global ones, but these see only what
    is before them. In the Longformer, global attention has projections of its own, and the task decides which positions
    are global, such as those of a question. Here there is one set of projections, and a sentence's first pieces are
    global.
    """

    def __init__(self, window: int, tokens: int) -> None:
        super().__init__()
        self.window = window
        self.first = tokens

    @property
    def near(self) -> int:
        return self.window

    def far(self, i: Tensor, length: Tensor | None) -> Tensor:
        return torch.arange(self.first, device=i.device).expand(*i.shape[:2], -1)

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        return ((i - j).abs() <= self.window) | (i < self.first) | (j < self.first)


def make(config: TransformerConfig, place: Place) -> WindowAndGlobal:
    """Return the pattern that `model.window_global` describes."""
    return WindowAndGlobal(config.window_global.window, config.window_global.tokens)
