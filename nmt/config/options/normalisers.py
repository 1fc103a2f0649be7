"""The options of normalisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nmt.config.ranges import Range


@dataclass(kw_only=True)
class EntmaxConfig:
    """Options of normaliser=entmax, whose alpha is learned for each head (Correia et al. 2019)."""

    alpha: Annotated[float, Range(1.05, 1.95)] = 1.5  # alpha at the start; near 1: like softmax, near 2: like sparsemax


@dataclass(kw_only=True)
class TopKConfig:
    """Options of normaliser=top_k: a softmax over the keys with the largest scores (Zhao et al. 2019)."""

    k: Annotated[int, Range(1, 10_000)] = 8  # keys that have a weight, for each query
