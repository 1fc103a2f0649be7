"""The options of mechanisms of recurrent models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from nmt.config.ranges import Count, Dimension, Positive, Range, Rate


@dataclass(kw_only=True)
class LocationConfig:
    """Options of score=location, which knows a source word only by its position (Luong et al. 2015)."""

    max_length: Dimension = 256  # source tokens beyond this position get no attention


@dataclass(kw_only=True)
class LocalMConfig:
    """Options of alignment=local_m: attention to a window that moves at a fixed speed (Luong et al. 2015)."""

    window: Count = 10  # D: words at most this far from the aligned position p_t can be attended to
    ratio: Positive = 1.0  # p_t = ratio x t at target position t, so the number of source tokens for one target token


@dataclass(kw_only=True)
class LocalPConfig:
    """Options of alignment=local_p: attention to a window around a predicted position (Luong et al. 2015)."""

    window: Count = 10  # D: words at most this far from the predicted position can be attended to; sigma is D / 2


@dataclass(kw_only=True)
class GaussianConfig:
    """Options of alignment=gaussian: attention to a window of Gaussians that moves forwards (Graves 2013)."""

    components: Annotated[int, Range(1, 1000)] = 3  # K: Gaussians whose sum is the window


@dataclass(kw_only=True)
class CoverageConfig:
    """Options of alignment=coverage, which records how far each source state has been translated (Tu et al. 2016)."""

    kind: Literal["linguistic", "neural"] = "linguistic"  # linguistic: summed weights / fertility; neural: a GRU state
    max_fertility: Positive = 2.0  # linguistic: most target words that one source word is expected to give
    dim: Dimension = 10  # neural: size of the coverage of each source state


@dataclass(kw_only=True)
class LocationAwareConfig:
    """Options of alignment=location_aware, whose score reads the last weights, too (Chorowski et al. 2015)."""

    filters: Dimension = 10  # k: features of the earlier weights around each source token
    radius: Annotated[int, Range(0, 1000)] = 5  # a filter reads the weights of this many tokens on either side


@dataclass(kw_only=True)
class HardConfig:
    """Options of alignment=hard, which samples one source position for each target token (Xu et al. 2015)."""

    reinforce: Annotated[float, Range(0, 1000)] = 0.1  # lambda_r: weight of the rewards of sampled positions
    entropy: Annotated[float, Range(0, 1000)] = 0.05  # lambda_e: weight of the entropy, which keeps sampling varied
    baseline_decay: Rate = 0.9  # share that the baseline of the rewards keeps in an update
    soft_share: Annotated[float, Range(0, 1)] = 0.5  # share of sentences trained with the soft context instead


@dataclass(kw_only=True)
class MonotonicConfig:
    """Options of alignment=monotonic, which reads the source from left to right once (Raffel et al. 2017)."""

    offset: Annotated[float, Range(-100, 100)] = -1.0  # r at the start: the lower, the further attention moves at first
    noise: Annotated[float, Range(0, 100)] = 1.0  # standard deviation of the noise on energies in training
