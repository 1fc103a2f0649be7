"""The layers of a Transformer: which can share their weights (`model.share_layers`), and which can be left early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nmt.config.mechanisms import of_layer
from nmt.errors import require


def different_layers(model: Any, stack: str) -> int:
    """Return the number of different layers of a Transformer's encoder or decoder, which are used in turn."""
    layers: int = getattr(model, f"{stack}_layers")
    return getattr(model.share_layers, stack) or layers


def shares(model: Any, stack: str, layer: int) -> bool:
    """Return whether a layer of the encoder or decoder has the same weights as another one."""
    different, layers = different_layers(model, stack), getattr(model, f"{stack}_layers")
    return len(range(layer % different, layers, different)) > 1


def check_sharing(model: Any) -> None:
    """Raise ConfigError if layers cannot share their weights."""
    for stack in ("encoder", "decoder"):
        different, layers = getattr(model.share_layers, stack), getattr(model, f"{stack}_layers")
        if different is None:
            continue
        key = f"model.share_layers.{stack}={different}"
        require(different <= layers, f"{key}: the {stack} has fewer layers, model.{stack}_layers={layers}")
        for layer in range(different, layers):
            of_both = (_of_layer(model, stack, number) for number in (layer % different, layer))
            for (name, shared), (_, own) in zip(*of_both, strict=True):
                require(
                    own == shared,
                    f"{key}: layers {layer % different} and {layer} would share their weights, but {name} has {shared} "
                    f"in one and {own} in the other: choose the same, or set another number of different layers",
                )


def check_halting(model: Any) -> None:
    """Raise ConfigError if positions cannot halt in a stack of layers (`model.halting`)."""
    for stack in ("encoder", "decoder"):
        require(
            not getattr(model.halting, stack) or getattr(model, f"{stack}_layers") > 1,
            f"model.halting.{stack}=true: with model.{stack}_layers=1 there is no layer before the last one in which "
            "positions could halt: set more layers, or leave halting out",
        )
    layers = range(model.decoder_layers)
    require(
        not (model.halting.encoder and "transparent" in {of_layer(model.decoder_cross, layer) for layer in layers}),
        "model.halting.encoder=true mixes the layers of the encoder by its own weights, and so does "
        "model.decoder_cross=transparent, which would not read that mixture: use one of them",
    )


def _of_layer(model: Any, stack: str, layer: int) -> Iterator[tuple[str, Any]]:
    """Yield what the configuration chooses for each layer by itself, with the name of the key."""
    keys = ("encoder_self",) if stack == "encoder" else ("decoder_self", "decoder_cross")
    for key in keys:
        yield f"model.{key}", of_layer(getattr(model, key), layer)
    mixer = of_layer(getattr(model, keys[0]), layer)
    if mixer in ("light_conv", "dynamic_conv"):
        yield f"model.{mixer}.kernel_sizes", getattr(model, mixer).kernel_size(layer)
