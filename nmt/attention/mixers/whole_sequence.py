"""Mixers for encoders, which look at a whole sequence at once and have no state."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from nmt.attention.contract import Mixer


class WholeSequence(Mixer):
    """The base class of mixers that need all positions of a sequence before they can give the output of the first.

    The configuration check refuses them in model.decoder_self, so that nothing asks them for a state.
    """

    def init_state(self, rows: int, like: Tensor) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} is for encoders only")

    def state_bytes(self, length: int) -> int:
        return 0


def lengths(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the lengths [rows] of the sequences x [rows, length, dim] without padding, where the mask is False."""
    return x.new_full((x.size(0),), x.size(1), dtype=torch.long) if mask is None else mask.sum(dim=1)
