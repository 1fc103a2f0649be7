"""Gates, by which the influence of each head on the loss is measured (Michel et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

import torch
from torch import Tensor, nn

from nmt.attention.heads.base import Heads


class Gates(nn.Module):
    """Gates xi_h = 1, which multiply the context of each head h (Michel et al. 2019, section 2.3).

    Each sequence has gates of its own. So has each layer, even if several layers share their heads.
    """

    def __init__(self, layers: int, rows: int, heads: int, like: Tensor) -> None:
        """Create gates [rows, heads] for each layer, with the device and dtype of `like`; `rows` counts sequences."""
        super().__init__()
        ones = torch.ones(rows, heads, device=like.device, dtype=like.dtype)
        self.xi = nn.ParameterList(ones.clone() for _ in range(layers))
        self._in_turn = cycle(self.xi)

    def forward(self, contexts: Tensor) -> Tensor:
        """Return the gated contexts [rows, heads, length, head_dim] of the next layer with these heads."""
        xi: Tensor = next(self._in_turn)
        return contexts * xi[:, :, None, None]


@contextmanager
def gated(places: Sequence[Heads], rows: int, like: Tensor) -> Iterator[list[Tensor]]:
    """Put gates on the heads of several attentions during the block, and yield a tensor [rows, heads] for each.

    The gates are parameters, so that the loss has a gradient for them. In the block, each attention must be called on
    `rows` sequences. If layers share their heads, `places` has these heads once for each layer, in the order of the
    calls.
    """
    gates = {heads: Gates(places.count(heads), rows, heads.num_heads, like) for heads in places}
    before = {heads: heads.gates for heads in gates}
    try:
        for heads, own in gates.items():
            heads.gates = own
        in_turn = {heads: iter(own.xi) for heads, own in gates.items()}
        yield [next(in_turn[heads]) for heads in places]
    finally:
        for heads, own_before in before.items():
            heads.gates = own_before
