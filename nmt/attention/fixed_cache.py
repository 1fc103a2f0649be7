"""A cache in which every step of a search has the same shapes, so that a device can record one and replay it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.attention.cache import Cache, KeysValues, Past, alone, visible
from nmt.attention.kernels import bias_of


class FixedCache(NamedTuple):
    """What `Cache` keeps, with room for all tokens from the start, and with its numbers on the device, too.

    Attention looks at all of the room, and a bias hides what is not yet there. A step writes where it is told to, so a
    state can be stepped from once only.
    """

    layers: tuple[KeysValues, ...]  # each with length = room * width, position by position
    places: Tensor  # [batch, hypotheses, room], -1 where nothing is yet
    length: Tensor  # [1]: how many tokens each hypothesis has

    @classmethod
    def of(cls, cache: Cache, room: int) -> FixedCache:
        """An empty cache with room for so many tokens of each hypothesis."""
        assert cache.length == 0, "there is a past"
        batch, heads, head_dim, _ = cache.layers[0].keys.shape
        device, shape = cache.layers[0].keys.device, (batch, heads, room, head_dim)
        made = cache.layers[0].values.new_zeros
        layers = tuple(KeysValues(made(shape).mT, made(shape)) for _ in cache.layers)  # as fused attention reads them
        places = torch.full((batch, 1, room), -1, device=device)
        return cls(layers, places, torch.zeros(1, dtype=torch.long, device=device))

    @property
    def batch(self) -> int:
        """How many sentences there are."""
        return self.places.size(0)

    @property
    def width(self) -> int:
        """How many places there are at a position."""
        return self.layers[0].values.size(2) // self.places.size(2)

    def extended(self, tokens: int) -> FixedCache:
        """With so many further tokens of each hypothesis, for each layer to `write`."""
        batch, hypotheses, _ = self.places.shape
        own = torch.arange(hypotheses, device=self.places.device).view(1, -1, 1).expand(batch, -1, tokens)
        length = self.length + tokens
        return FixedCache(self.layers, self.places.index_copy(2, self._last(length, tokens), own), length)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the last tokens, [batch, heads, hypotheses * tokens, head_dim], and return all the room."""
        hypotheses, room = self.places.shape[1:]
        tokens = keys.size(2) // hypotheses
        room_for_keys, room_for_values = self.layers[layer].keys.mT, self.layers[layer].values
        now = self._last(self.length, tokens)
        for there, here in ((room_for_keys, keys), (room_for_values, values)):
            each_place = there.unflatten(2, (room, self.width)).narrow(3, 0, hypotheses)
            each_place.index_copy_(2, now, here.unflatten(2, (hypotheses, tokens)).transpose(2, 3))
        return room_for_keys, room_for_values

    def pasts(self, tokens: int) -> list[Past]:
        """What each layer is given, having been extended by so many tokens."""
        bias = self.bias(tokens)
        return [Past(self, layer, bias) for layer in range(len(self.layers))]

    def bias(self, tokens: int) -> Tensor:
        """What the last tokens may see of the room: [batch, 1, hypotheses * tokens, room * width]."""
        return bias_of(visible(self.places, self.width, self._last(self.length, tokens)))

    def reorder(self, parents: Tensor) -> FixedCache:
        """Hypotheses that go on from parents [batch, hypotheses]; see `Cache.reorder`."""
        batch, hypotheses, room = self.places.shape
        layers, places, width = self.layers, self.places, self.width
        if parents.size(0) != batch:
            stay = parents[:, 0] // hypotheses
            layers, places = _selected(layers, stay), places.index_select(0, stay)
        places = places.gather(1, (parents % hypotheses).unsqueeze(2).expand(-1, -1, room))
        if parents.size(1) > width:  # a place more for each further hypothesis
            layers = tuple(
                KeysValues(_widened(keys.mT, room, parents.size(1)).mT, _widened(values, room, parents.size(1)))
                for keys, values in layers
            )
        return FixedCache(layers, places, self.length)

    def select(self, rows: Tensor) -> FixedCache:
        """The given rows [n], each from then on the only hypothesis of a sentence; see `Cache.select`."""
        layers = _selected(self.layers, rows // self.places.size(1))
        places = self.places.flatten(0, 1)[rows]
        if self.width > 1:
            layers = alone(layers, self.width, places.clamp(min=0))
        return FixedCache(layers, torch.where(places < 0, places, 0).unsqueeze(1), self.length)

    @staticmethod
    def _last(length: Tensor, tokens: int) -> Tensor:
        """The positions [tokens] of the last tokens, of so many."""
        return length - tokens + torch.arange(tokens, device=length.device)


def _selected(layers: tuple[KeysValues, ...], sentences: Tensor) -> tuple[KeysValues, ...]:
    return tuple(KeysValues(keys.mT.index_select(0, sentences).mT, values[sentences]) for keys, values in layers)


def _widened(memory: Tensor, room: int, width: int) -> Tensor:
    """memory [batch, heads, room * narrower, head_dim] with more places at each position, [..., room * width, ...]."""
    narrow: Tensor = memory.unflatten(2, (room, -1))
    wide: Tensor = narrow.new_zeros(*narrow.shape[:3], width, narrow.size(4))
    wide[:, :, :, : narrow.size(3)] = narrow
    return wide.flatten(2, 3)
