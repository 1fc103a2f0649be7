"""The names and keys of mechanisms of attention: what may be chosen for a stack, a layer or a recurrent decoder.

Each name is that of a file: positions in nmt/attention/positions, mixers in nmt/attention/mixers, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from nmt.config.ranges import Dimension, Positive, Range, Rate
from nmt.errors import require

PositionName = Literal["sinusoidal", "none", "rotary", "alibi", "shaw"]
MixerName = Literal["softmax", "ssru"]  # self-attention, and what stands in its place
CrossName = Literal["softmax", "transparent"]  # a Transformer's attention to the source
AlignmentName = Literal["soft", "coverage", "marginal"]  # a recurrent decoder's attention to the source

# For the key of a stack, the names that cannot stand there, and why.
_REFUSED: dict[str, dict[str, str]] = {
    "model.encoder_self": {
        "ssru": "an SSRU reads from left to right, so a source word would not see the words after it; it can stand in "
        "model.decoder_self",
    },
}


@dataclass(kw_only=True)
class RotaryConfig:
    """Rotary positions (Su et al. 2021)."""

    base: Annotated[float, Range(1, 1e12, above=True)] = (
        10000.0  # theta_i = base^(-2i / head_dim): the larger, the slower the turns
    )

    def check(self, head_dim: int) -> None:
        """Refuse heads whose components do not come in pairs."""
        require(
            head_dim % 2 == 0,
            f"model.positions=rotary turns pairs of a head's components, and model.model_dim / model.num_heads = "
            f"{head_dim} is odd",
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


def check_alignment(alignment: AlignmentName, score: str, context_goes_on: bool) -> None:
    """Refuse an alignment with a score, or in a decoder, that it cannot have.

    `context_goes_on` says whether the decoder's next state depends on the context.
    """
    require(
        alignment != "coverage" or score in ("additive", "concat"),
        f"model.alignment=coverage adds the coverage inside the tanh of an additive score, and model.score={score} has "
        "none: set model.score to additive (rnnsearch) or concat (luong)",
    )
    require(
        alignment != "marginal" or not context_goes_on,
        "model.alignment=marginal needs a decoder whose next state does not depend on which source position was taken, "
        "or a sum over all sequences of positions would be needed: take model=luong with model.input_feeding=false",
    )


def of_layer(names: str | Sequence[str], layer: int) -> str:
    """Return the name for a layer, counted from 0, of a key that has one name for all layers or a list."""
    return names if isinstance(names, str) else names[layer]


def check_layers(key: str, names: str | Sequence[str], layers: int) -> None:
    """Refuse a list of names that does not have one for each layer, and a name that cannot stand in this stack."""
    if isinstance(names, str):
        named = {key: names}
    else:
        expected = f"one name for all layers, or a list of {layers}, one for each"
        require(len(names) == layers, f"{key}=[{','.join(names)}]: expected {expected}")
        named = {f"{key}[{layer}]": name for layer, name in enumerate(names)}
    for place, name in named.items():
        reason = _REFUSED.get(key, {}).get(name)
        require(reason is None, f"{place}={name}: {reason}")
