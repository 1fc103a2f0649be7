"""Gates, by which the influence of each head on the loss is measured (Michel et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nmt.attention.heads.base import Heads


class Gates(nn.Module):
    """A factor xi_h = 1 of the context of each head h, for each sequence alone (Michel et al. 2019, section 2.3)."""

    def __init__(self, rows: int, heads: int, like: Tensor) -> None:
        """Create the gates of so many sequences and heads, with the device and dtype of `like`."""
        super().__init__()
        self.xi = nn.Parameter(torch.ones(rows, heads, device=like.device, dtype=like.dtype))

    def forward(self, contexts: Tensor) -> Tensor:
        """Return the gated contexts [rows, heads, length, head_dim]."""
        return contexts * self.xi[:, :, None, None]


@contextmanager
def gated(places: Sequence[Heads], rows: int, like: Tensor) -> Iterator[list[Tensor]]:
    """Give the heads of several attentions gates, and yield these as parameters [rows, heads], one for each attention.

    They exist during the block alone, in which each attention must be called on `rows` sequences.
    """
    gates = [Gates(rows, heads.num_heads, like) for heads in places]
    before = [heads.gates for heads in places]
    try:
        for heads, own in zip(places, gates, strict=True):
            heads.gates = own
        yield [own.xi for own in gates]
    finally:
        for heads, own_before in zip(places, before, strict=True):
            heads.gates = own_before
