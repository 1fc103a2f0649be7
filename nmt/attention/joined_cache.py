"""A cache for searches of few hypotheses, in which each has keys and values of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmt.attention.cache import Past
from nmt.attention.kernels import bias_of

FEW_SENTENCES = 4  # searched together on a CPU


class JoinedCache:
    """What `Cache` keeps, by value too, each hypothesis by itself: a step joins what it adds to what there was.

    Of few hypotheses, to copy all that there was takes less time than to keep the places where each wrote. A query
    reads what its own hypothesis said and nothing else, so that a single token needs no bias.
    """

    def __init__(self, layers: list[tuple[Tensor, ...]], rows: int, length: int, device: torch.device) -> None:
        self._layers = layers  # keys and values [rows, heads, length, head_dim] each; () where there is no past yet
        self._rows = rows
        self._length = length
        self._device = device

    @classmethod
    def empty(cls, layers: int, rows: int, device: torch.device) -> JoinedCache:
        """No past, in so many layers, for so many hypotheses."""
        return cls([()] * layers, rows, 0, device)

    @property
    def length(self) -> int:
        """How many tokens each hypothesis has."""
        return self._length

    @property
    def batch(self) -> int:
        """How many sentences there are: to attention, each hypothesis is one."""
        return self._rows

    def extended(self, tokens: int) -> JoinedCache:
        """With so many further tokens of each hypothesis, for each layer to `write`."""
        return JoinedCache(list(self._layers), self._rows, self._length + tokens, self._device)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the last tokens, [rows, heads, tokens, head_dim], and return all there are."""
        if past := self._layers[layer]:
            keys, values = torch.cat((past[0], keys), dim=2), torch.cat((past[1], values), dim=2)
        self._layers[layer] = (keys, values)
        return keys, values

    def pasts(self, tokens: int) -> list[Past]:
        """What each layer is given, having been extended by so many tokens."""
        bias = None
        if tokens > 1:
            positions = torch.arange(self._length, device=self._device)
            bias = bias_of(positions <= positions[-tokens:].unsqueeze(1))[None, None]
        return [Past(self, layer, bias) for layer in range(len(self._layers))]

    def until(self, length: int) -> JoinedCache:
        """The first so many tokens of each hypothesis."""
        return self._with(lambda memory: memory.narrow(2, 0, length), self._rows, length)

    def reorder(self, parents: Tensor) -> JoinedCache:
        """Hypotheses that go on from parents [batch, hypotheses], rows of the present ones."""
        return self.select(parents.flatten())

    def select(self, rows: Tensor) -> JoinedCache:
        """The given rows [n]."""
        return self._with(lambda memory: memory.index_select(0, rows), rows.size(0), self._length)

    def _with(self, function: Callable[[Tensor], Tensor], rows: int, length: int) -> JoinedCache:
        layers = [tuple(map(function, memories)) for memories in self._layers]
        return JoinedCache(layers, rows, length, self._device)
