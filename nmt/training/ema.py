"""An exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """The moving average v_t = d v_{t-1} + (1 - d) w_t of the weights after each update (Polyak & Juditsky 1992).

    The averaged weights are used for validation and translation. To give little weight to the initial weights, d rises
    to `decay` as (1 + t) / (10 + t), instead of the bias correction of Kingma & Ba 2015, section 7.2. With decay=None
    the average is the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self._decay = decay
        trained = (weight for weight in model.parameters() if weight.requires_grad)
        self._weights: list[Tensor] = [] if decay is None else list(trained)
        self._average = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after update `step` (the first is 1) to the average."""
        if self._decay is not None:
            share = 1 - min(self._decay, (1 + step) / (10 + step))
            for average, weight in zip(self._average, self._weights, strict=True):
                average.lerp_(weight, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model use the averaged weights during the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Return the trained weights, which a checkpoint stores in addition to the average (the model's weights)."""
        return {"trained": [weight.detach().clone() for weight in self._weights]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the trained weights and the average; the model must already have the checkpoint's weights."""
        for weight, average, trained in zip(self._weights, self._average, state["trained"], strict=True):
            average.copy_(weight)
            weight.copy_(trained)

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the values, not the tensors: cuDNN requires that weights stay at the same place in memory."""
        for weight, average in zip(self._weights, self._average, strict=True):
            trained = weight.clone()
            weight.copy_(average)
            average.copy_(trained)
