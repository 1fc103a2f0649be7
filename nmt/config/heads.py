"""Heads that have been removed from a Transformer (`model.heads.removed`): their names, and where there can be any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from nmt.config.layers import different_layers, shares
from nmt.config.mechanisms import Place, of_layer
from nmt.config.options.transformer import PlaceName
from nmt.errors import ConfigError, require

# The mechanisms whose heads are independent of each other, so that the others do not change if one is removed. Those
# that are not named here may have parameters for each head.
_PATTERNS = ("sliding", "dilated", "blocks", "strided", "window_global", "bigbird", "fixed_gaussian")
_INDEPENDENT: dict[str, tuple[str, ...]] = {
    "encoder_self": ("softmax", *_PATTERNS),
    "decoder_self": ("softmax", *_PATTERNS),
    "decoder_cross": ("softmax", "transparent"),
    "normaliser": ("softmax", "sparsemax", "entmax15", "top_k"),
    "positions": ("none", "sinusoidal", "learned", "rotary", "alibi", "shaw"),
}
# Mixers that the options of heads have no effect on, besides `removed`.
_WITHOUT_OPTIONS = (
    *("linear", "performer", "retention", "synthesizer_random", "synthesizer_dense", "hard_coded", "average", "ssru"),
    *("mamba", "light_conv", "dynamic_conv", "fnet"),
)
_NAME = re.compile(rf"({'|'.join(get_args(PlaceName))})\.([0-9]{{1,4}})\.([0-9]{{1,7}})")


class Head(NamedTuple):
    """A head of a Transformer's attention; layers and heads are counted from 0."""

    place: Place
    number: int

    def __str__(self) -> str:
        """Return its name in the configuration, such as decoder_cross.1.0: place, layer, head."""
        return f"{self.place.key}.{self.place.layer}.{self.number}"


def removed_from(model: Any, place: Place) -> list[int]:
    """Return the numbers of the heads that a Transformer's configuration removes at one place."""
    return [head.number for head in map(_parse, model.heads.removed) if head.place == place]


def check_removed(model: Any) -> None:
    """Raise ConfigError if a Transformer cannot be without the heads in `model.heads.removed`."""
    heads = [_parse(name) for name in model.heads.removed]
    for head in heads:
        key, layer = head.place
        layers = model.encoder_layers if key == "encoder_self" else model.decoder_layers
        require(layer < layers, f"{_told(head)}: there are {layers} layers, counted from 0")
        require(head.number < model.num_heads, f"{_told(head)}: there are {model.num_heads} heads, counted from 0")
        require(heads.count(head) == 1, f"{_told(head)} is named twice")
        left = model.num_heads - len(removed_from(model, head.place))
        require(left > 0, f"{_told(head)}: no head would be left in {key}.{layer}, and an attention needs one")
        reason = inseparable(model, head.place)
        require(reason is None, f"{_told(head)}: {reason}")


def check_heads_used(model: Any) -> None:
    """Raise ConfigError for an option of heads that no mechanism of a Transformer has a use for."""
    options = model.heads
    given = {
        "num_kv_heads": options.num_kv_heads not in (None, model.num_heads),
        "qk_norm": options.qk_norm != "none",
        "talking": options.talking,
        "dropout": options.dropout > 0,
    }
    layers = {"encoder_self": model.encoder_layers, "decoder_self": model.decoder_layers, "decoder_cross": 1}
    named = [of_layer(getattr(model, key), layer) for key in options.places for layer in range(layers[key])]
    used = any(name not in _WITHOUT_OPTIONS for name in named)
    for name in filter(given.get, given):
        there = f" ({', '.join(dict.fromkeys(named))})" if named else ""
        require(
            used,
            f"model.heads.{name} has no effect, since no mechanism at model.heads.places=[{','.join(options.places)}]"
            f"{there} takes it: leave it out, or name another place",
        )


def check_not_removed(model: Any, place: Place, heads: Sequence[int], key: str) -> None:
    """Raise ConfigError if a Transformer is without one of the heads, counted from 1, that `key` names at a place."""
    for gone in removed_from(model, place):
        removed = f"model.heads.removed removes head {gone + 1} of layer {place.layer + 1}"
        require(gone + 1 not in heads, f"{key}={heads}: {removed}")


def inseparable(model: Any, place: Place) -> str | None:
    """Return why no single head can be removed at a place, as a sentence without its full stop; None if one can."""
    key, layer = place
    options = model.heads
    stack = key.partition("_")[0]
    if shares(model, stack, layer):
        different = different_layers(model, stack)
        return f"with model.share_layers.{stack}={different}, other layers have the same heads"
    here = key in options.places
    if here and options.num_kv_heads not in (None, model.num_heads):
        return f"with model.heads.num_kv_heads={options.num_kv_heads}, several heads share their keys and values"
    if here and options.talking:
        return "with model.heads.talking=true, heads exchange what they have found"
    mechanisms = {key: of_layer(getattr(model, key), layer), "normaliser": model.normaliser}
    if key != "decoder_cross":
        mechanisms["positions"] = model.positions
    for name, mechanism in mechanisms.items():
        if mechanism == "rela":
            return "model.normaliser=rela normalises all heads together"
        if mechanism not in _INDEPENDENT[name]:
            known = ", ".join(_INDEPENDENT[name])
            return f"model.{name}={mechanism} has no heads, or parameters for each head; without them are {known}"
    return None


def _parse(name: str) -> Head:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"model.heads.removed: {name} is not the name of a head: expected PLACE.LAYER.HEAD with layers and heads "
            f"counted from 0 and one of the places {', '.join(get_args(PlaceName))}, such as decoder_cross.1.0"
        )
    key, layer, number = match.groups()
    return Head(Place(key, int(layer)), int(number))  # type: ignore[arg-type]


def _told(head: Head) -> str:
    return f"model.heads.removed: {head}"
