"""Dropout in recurrent models: a new mask at each step, or one mask for the whole sentence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nmt.config.models import RecurrentConfig

Drop = Callable[[Tensor], Tensor]  # drops components of vectors [rows, dim]


class StepDropout(nn.Dropout):
    """Dropout with a new mask at each step of a sentence."""

    def for_steps(self, like: Tensor) -> Drop:
        """Return the dropout for vectors of the shape of `like` [rows, dim] that a time loop computes one by one."""
        return self


class SentenceDropout(StepDropout):
    """Dropout with the same mask at all steps of a sentence (Gal and Ghahramani 2016).

    The paper's masks of recurrent connections, inside a cell, are left out.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop the same components of x [rows, length, ...] at all positions of a row."""
        return x * super().forward(torch.ones_like(x[:, :1]))

    def for_steps(self, like: Tensor) -> Drop:
        mask = super().forward(torch.ones_like(like))
        return lambda vector: vector * mask


def make_dropout(config: RecurrentConfig) -> StepDropout:
    """Return dropout with the configured rate and kind of mask."""
    return (SentenceDropout if config.dropout_mask == "sentence" else StepDropout)(config.dropout)
