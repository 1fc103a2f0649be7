"""Normalisers: functions that turn scores into weights that sum to one over the keys."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax(scores: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(scores + bias) along the last axis, in float32 or better (Bahdanau et al. 2015, eq. 6).

    A bias of minus infinity makes a weight zero.
    """
    return _biased(scores, bias).softmax(dim=-1)


def log_softmax(scores: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the logarithms of the weights that `softmax` returns."""
    return _biased(scores, bias).log_softmax(dim=-1)


def wide(x: Tensor) -> Tensor:
    """Return x in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _biased(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Return scores + bias in float32 or better."""
    return wide(scores) if bias is None else wide(scores) + bias
