"""An exponential moving average of the weights, kept beside those that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """v_t = d v_{t-1} + (1 - d) w_t over updates, for what validates and translates (Polyak & Juditsky 1992).

    In place of the correction of Kingma & Ba 2015, section 7.2, for the weights of the start, d rises to `decay` as
    (1 + t) / (10 + t). Without a decay (None) the average is the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self._decay = decay
        trained = (weight for weight in model.parameters() if weight.requires_grad)
        self._weights: list[Tensor] = [] if decay is None else list(trained)
        self._average = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step` (the first is 1)."""
        if self._decay is not None:
            share = 1 - min(self._decay, (1 + step) / (10 + step))
            for average, weight in zip(self._average, self._weights, strict=True):
                average.lerp_(weight, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """During the block the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the model's weights, which are then the average: those that are trained."""
        return {"trained": [weight.detach().clone() for weight in self._weights]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint whose weights the model has been given."""
        for weight, average, trained in zip(self._weights, self._average, state["trained"], strict=True):
            average.copy_(weight)
            weight.copy_(trained)

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the values and not the tensors, which cuDNN wants to stay where they are."""
        for weight, average in zip(self._weights, self._average, strict=True):
            trained = weight.clone()
            weight.copy_(average)
            average.copy_(trained)
