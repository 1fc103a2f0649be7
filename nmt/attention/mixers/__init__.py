"""Mixers: self-attention and its replacements, one per file.

`model.encoder_self` and `model.decoder_self` name the mixers to use. Those that are self-attention with a pattern have
their files in `nmt.attention.patterns`.
"""

from __future__ import annotations

from typing import cast

from nmt.attention.contract import Mixer
from nmt.attention.naming import make_by_name
from nmt.config.mechanisms import PATTERNS, Place, of_layer
from nmt.config.models import TransformerConfig


def make_mixer(config: TransformerConfig, place: Place) -> Mixer:
    """Return the mixer that the configuration names for a layer of the encoder or decoder."""
    name = of_layer(config.encoder_self if place.key == "encoder_self" else config.decoder_self, place.layer)
    pattern = [make_by_name("patterns", name, config, place)] if name in PATTERNS else []
    return cast(Mixer, make_by_name("mixers", "softmax" if pattern else name, config, place, *pattern))
