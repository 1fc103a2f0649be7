"""The options of mechanisms of the Transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nmt.config.ranges import Range, Rate


@dataclass(kw_only=True)
class RotaryConfig:
    """Options of rotary positions: queries and keys are turned by position x theta_i (Su et al. 2021)."""

    base: Annotated[float, Range(1, 1e12, above=True)] = 10000.0  # theta_i = base^(-2i/head_dim); larger: slower turns


@dataclass(kw_only=True)
class ShawConfig:
    """Options of relative positions: a learned vector for each distance between two tokens (Shaw et al. 2018)."""

    max_distance: Annotated[int, Range(0, 10_000)] = 16  # k: larger distances share the vectors of distance k
    values: bool = True  # add the vectors to keys and values; false: to keys only


@dataclass(kw_only=True)
class TransparentConfig:
    """Options of transparent attention: to a learned, weighted sum of all encoder layers (Bapna et al. 2018)."""

    dropout: Rate = 0.0  # dropout rate of the layers' scores, before their softmax
