"""Normalisers: functions that turn scores into weights that sum to one over the keys."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax(scores: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(scores + bias) along the last axis, in float32 or better (Bahdanau et al. 2015, eq. 6).

    A bias of minus infinity makes a weight zero.
    """
    return _wide(scores, bias).softmax(dim=-1)


def log_softmax(scores: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the logarithms of the weights that `softmax` returns."""
    return _wide(scores, bias).log_softmax(dim=-1)


def _wide(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Return scores + bias in float32 or better."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores if bias is None else scores + bias
