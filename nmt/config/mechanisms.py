"""The names and keys of mechanisms of attention: what may be chosen for a stack, a layer or a recurrent decoder.

Each name is that of a file: positions in nmt/attention/positions, mixers in nmt/attention/mixers, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from nmt.config.ranges import Dimension, Positive, Range, Rate
from nmt.errors import require

PositionName = Literal["sinusoidal", "none", "rotary", "alibi", "shaw"]
MixerName = Literal["softmax", "ssru"]  # self-attention, and what stands in its place
CrossName = Literal["softmax", "transparent"]  # a Transformer's attention to the source
AlignmentName = Literal["soft", "coverage", "marginal"]  # a recurrent decoder's attention to the source
_KEYS = ("positions", "encoder_self", "decoder_self", "decoder_cross", "alignment")  # which name mechanisms


@dataclass(kw_only=True)
class RotaryConfig:
    """Rotary positions (Su et al. 2021)."""

    base: Annotated[float, Range(1, 1e12, above=True)] = (
        10000.0  # theta_i = base^(-2i / head_dim): the larger, the slower the turns
    )


@dataclass(kw_only=True)
class ShawConfig:
    """Relative positions in keys and values (Shaw et al. 2018)."""

    max_distance: Annotated[int, Range(0, 10_000)] = 16  # k: all distances beyond it count as k
    values: bool = True  # whether distances are added to values too, or to keys alone


@dataclass(kw_only=True)
class TransparentConfig:
    """Attention of a decoder layer to a learned sum of all encoder layers (Bapna et al. 2018)."""

    dropout: Rate = 0.0  # of W, whose softmax weighs the embeddings and layers


@dataclass(kw_only=True)
class CoverageConfig:
    """What alignment=coverage keeps of each source state (Tu et al. 2016)."""

    kind: Literal["linguistic", "neural"] = "linguistic"  # a sum of weights over a fertility / a GRU's state
    max_fertility: Positive = 2.0  # of kind=linguistic: the most target words that one source word can stand for
    dim: Dimension = 10  # of kind=neural


def of_layer(names: str | Sequence[str], layer: int) -> str:
    """Return the name for a layer, counted from 0, of a key that has one name for all layers or a list."""
    return names if isinstance(names, str) else names[layer]


def has_mechanism(model: Any, name: str) -> bool:
    """Return whether a model's configuration has the mechanism of that name anywhere."""
    return any(name in _places(model, key).values() for key in _KEYS)


def check_mechanisms(model: Any) -> None:
    """Refuse mechanisms that cannot stand where a model's configuration has them, and lists of a wrong length."""
    for key in _KEYS:
        for place, name in _places(model, key).items():
            reason = _refusal(model, key, name)
            require(reason is None, f"{place}={name}{reason}")


def _places(model: Any, key: str) -> dict[str, str]:
    """Return the name at each place that a key names: one for all layers, or one for each."""
    names = getattr(model, key, None)
    if names is None or isinstance(names, str):
        return {} if names is None else {f"model.{key}": names}
    layers = model.encoder_layers if key.startswith("encoder") else model.decoder_layers
    expected = f"one name for all layers, or a list of {layers}, one for each"
    require(len(names) == layers, f"model.{key}=[{','.join(names)}]: expected {expected}")
    return {f"model.{key}[{layer}]": name for layer, name in enumerate(names)}


def _refusal(model: Any, key: str, name: str) -> str | None:
    """Return why a mechanism cannot be the value of a key, as what follows its name in a sentence; None if it can."""
    match key, name:
        case "positions", "sinusoidal" if model.model_dim % 2:
            return f" needs an even model.model_dim, and {model.model_dim} is odd"
        case "positions", "rotary" if (head_dim := model.model_dim // model.num_heads) % 2:
            return f" turns pairs of a head's components, and model.model_dim / model.num_heads = {head_dim} is odd"
        case "encoder_self", "ssru":
            return (
                ": an SSRU reads from left to right, so a source word would not see the words after it; it can stand "
                "in model.decoder_self"
            )
        case "alignment", "coverage" if model.score not in ("additive", "concat"):
            return (
                f" adds the coverage inside the tanh of an additive score, and model.score={model.score} has none: set "
                "model.score to additive (rnnsearch) or concat (luong)"
            )
        case "alignment", "marginal" if getattr(model, "input_feeding", True):
            return (
                " needs a decoder whose next state does not depend on which source position was taken, or a sum over "
                "all sequences of positions would be needed: take model=luong with model.input_feeding=false"
            )
    return None
