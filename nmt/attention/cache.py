"""The keys and values of what hypotheses have said, kept where they were written while hypotheses change places."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from nmt.attention.kernels import bias_of

_BLOCK = 8  # positions are read in multiples of it: products over fewer take a slow path on CPUs


class KeysValues(NamedTuple):
    """What attention looks at. Keys lie as the product with queries reads them fastest."""

    keys: Tensor  # [batch, heads, head_dim, length]
    values: Tensor  # [batch, heads, length, head_dim]


class Kept(Protocol):
    """What a decoder asks of a cache."""

    @property
    def batch(self) -> int:
        """How many sentences there are."""
        ...

    @property
    def length(self) -> int | Tensor:
        """How many tokens each hypothesis has."""
        ...

    def extended(self, tokens: int) -> Kept:
        """With so many further tokens of each hypothesis, for each layer to `write`."""
        ...

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the last tokens, [batch, heads, hypotheses * tokens, head_dim], and return all there are."""
        ...

    def pasts(self, tokens: int) -> list[Past]:
        """What each layer is given, having been extended by so many tokens."""
        ...


class Cache:
    """The past of hypotheses in every layer of a decoder: by value, so that one state may be stepped from twice.

    The hypotheses of a sentence are neighbours, and at each position its memory has a place for each of them. A search
    that goes on from other hypotheses (`reorder`) moves no keys or values: `places` says of each hypothesis at which
    place each of its tokens was written. Those of a sentence attend to all of its memory at once, by a bias.
    """

    def __init__(self, layers: tuple[KeysValues, ...], width: int, places: Tensor, written: list[int]) -> None:
        self.layers = layers  # each with length = capacity * width, position by position
        self._width = width  # places at a position
        self._places = places  # [batch, hypotheses, length]
        self._written = written  # [positions]: shared by all that share the layers, so that no two write the same

    @classmethod
    def empty(cls, like: Tensor, layers: int) -> Cache:
        """No past, for one hypothesis each of as many sentences as there are keys [batch, heads, head_dim, n] of."""
        batch, heads, head_dim, _ = like.shape
        nothing = KeysValues(like.new_zeros(batch, heads, head_dim, 0), like.new_zeros(batch, heads, 0, head_dim))
        places = torch.zeros(batch, 1, 0, dtype=torch.long, device=like.device)
        return cls((nothing,) * layers, 1, places, [0])

    @property
    def length(self) -> int:
        """How many tokens each hypothesis has."""
        return self._places.size(2)

    @property
    def batch(self) -> int:
        """How many sentences there are."""
        return self._places.size(0)

    def extended(self, tokens: int) -> Cache:
        """With so many further tokens of each hypothesis, for each layer to `write`."""
        batch, hypotheses, length = self._places.shape
        own = torch.arange(hypotheses, device=self._places.device).view(1, -1, 1).expand(batch, -1, tokens)
        places = torch.cat((self._places, own), dim=2)
        layers, written = self.layers, self._written
        capacity = layers[0].values.size(2) // self._width
        if length + tokens > capacity or written[0] > length:  # too small, or another state went on from here
            used = length * self._width
            more = _in_blocks(max(2 * length, length + tokens)) * self._width - used
            layers = tuple(
                KeysValues(pad(keys[..., :used], (0, more)), pad(values[:, :, :used], (0, 0, 0, more)))
                for keys, values in layers
            )
            written = [length]
        written[0] = length + tokens
        return Cache(layers, self._width, places, written)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the last tokens, [batch, heads, hypotheses * tokens, head_dim], and return all there are."""
        hypotheses, length = self._places.shape[1:]
        width, tokens = self._width, keys.size(2) // hypotheses
        every_key, every_value = self.layers[layer].keys.mT, self.layers[layer].values
        for there, here in ((every_key, keys), (every_value, values)):
            now = there.narrow(2, (length - tokens) * width, tokens * width)
            if hypotheses < width or (tokens > 1 and width > 1):  # position by position, at each the first places
                now = now.unflatten(2, (tokens, width)).narrow(3, 0, hypotheses)
                here = here.unflatten(2, (hypotheses, tokens)).transpose(2, 3)
            now.copy_(here)
        end = _in_blocks(length) * width
        return every_key.narrow(2, 0, end), every_value.narrow(2, 0, end)

    def bias(self, tokens: int) -> Tensor:
        """What the last tokens may see of what `write` returns: [batch or 1, 1, hypotheses * tokens, length]."""
        device, positions = self._places.device, _in_blocks(self.length)
        until = torch.arange(self.length - tokens, self.length, device=device)
        if self._width == 1:  # as in greedy search, at every step
            return bias_of(torch.arange(positions, device=device) <= until.view(1, 1, -1, 1))
        places = pad(self._places, (0, positions - self.length), value=-1)
        return bias_of(visible(places, self._width, until))

    def pasts(self, tokens: int) -> list[Past]:
        """What each layer is given, having been extended by so many tokens."""
        bias = self.bias(tokens)
        return [Past(self, layer, bias) for layer in range(len(self.layers))]

    def until(self, length: int) -> Cache:
        """The first so many tokens of each hypothesis: those after it are overwritten, also in what shares them."""
        self._written[0] = length
        return Cache(self.layers, self._width, self._places[:, :, :length], self._written)

    def reorder(self, parents: Tensor) -> Cache:
        """Hypotheses that go on from parents [batch, hypotheses], rows of the present batch * hypotheses.

        A sentence's are its own, and sentences that stay keep their order.
        """
        batch, hypotheses, length = self._places.shape
        layers, places = self.layers, self._places
        if parents.size(0) != batch:
            stay = parents[:, 0] // hypotheses
            layers, places = _map(lambda leaf: leaf.index_select(0, stay), layers), places.index_select(0, stay)
        places = places.gather(1, (parents % hypotheses).unsqueeze(2).expand(-1, -1, length))
        width = max(self._width, parents.size(1))
        if width > self._width:  # a place more for each further hypothesis
            more = (0, width - self._width)
            layers = tuple(
                KeysValues(
                    pad(keys.unflatten(3, (-1, self._width)), more).flatten(3),
                    pad(values.unflatten(2, (-1, self._width)), (0, 0, *more)).flatten(2, 3),
                )
                for keys, values in layers
            )
        return Cache(layers, width, places, self._written if layers is self.layers else [length])

    def select(self, rows: Tensor) -> Cache:
        """The given rows [n] of batch * hypotheses, each from then on the only hypothesis of a sentence."""
        hypotheses, length = self._places.shape[1:]
        layers = _map(lambda leaf: leaf.index_select(0, rows // hypotheses), self.layers)
        if self._width > 1:
            layers = alone(layers, self._width, self._places.flatten(0, 1)[rows])
        return Cache(layers, 1, self._places.new_zeros(rows.size(0), 1, length), [length])


class Past(NamedTuple):
    """A cache that was extended by the tokens which a layer of a decoder is given, for that layer."""

    cache: Kept
    layer: int
    bias: Tensor | None  # of what these tokens may see, None: everything; see `nmt.attention.kernels`


def visible(places: Tensor, width: int, until: Tensor) -> Tensor:
    """What tokens of hypotheses at places [batch, hypotheses, length] see of memories with `width` places a position.

    until [tokens] is each one's own position, the last that it sees: [batch, 1, hypotheses * tokens, length * width].
    """
    own = (places.unsqueeze(3) == torch.arange(width, device=places.device)).unsqueeze(2)
    if until.size(0) > 1:  # of one token there is nothing that it may not see
        positions = torch.arange(places.size(2), device=places.device)
        own = own & (positions <= until.unsqueeze(1)).unsqueeze(2)
    return own.flatten(3).flatten(1, 2).unsqueeze(1)


def alone(layers: tuple[KeysValues, ...], width: int, places: Tensor) -> tuple[KeysValues, ...]:
    """What single hypotheses have, of memories with so many places at a position: at places [batch, length]."""
    length = places.size(1)
    at = (places + width * torch.arange(length, device=places.device)).view(-1, 1, 1, length)
    return tuple(
        KeysValues(
            keys.gather(3, at.expand(-1, *keys.shape[1:3], -1)),
            values.gather(2, at.mT.expand(-1, values.size(1), -1, values.size(3))),
        )
        for keys, values in layers
    )


def _map(function: Callable[[Tensor], Tensor], layers: tuple[KeysValues, ...]) -> tuple[KeysValues, ...]:
    return tuple(KeysValues(function(keys), function(values)) for keys, values in layers)


def _in_blocks(positions: int) -> int:
    """Rounded up to whole blocks."""
    return -(-positions // _BLOCK) * _BLOCK
