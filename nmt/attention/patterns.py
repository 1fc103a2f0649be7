"""Patterns: biases that decide to which keys a query may attend, independently of what queries and keys contain.

A bias is added to scores. It is 0 where a query may attend and minus infinity elsewhere, and it broadcasts to
[rows, heads, queries, keys].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bias_of(mask: Tensor) -> Tensor:
    """Convert a bool mask (True = may attend) to a bias of the same shape."""
    return torch.where(mask, 0.0, -math.inf)


def padding(mask: Tensor) -> Tensor:
    """Return the bias [rows, 1, 1, keys] that hides keys where mask [rows, keys] is False."""
    return bias_of(mask)[:, None, None]


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Return the bias [rows, 1, queries, keys] that lets a query attend to its own position and earlier ones.

    Positions are [rows, queries] and [rows, keys].
    """
    return bias_of(key_positions.unsqueeze(1) <= query_positions.unsqueeze(2)).unsqueeze(1)
