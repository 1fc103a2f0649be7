"""Patterns: which positions a query may see, said by a bias on its scores that depends on positions alone.

A bias is 0 where a query may look and minus infinity elsewhere; it broadcasts to [rows, heads, queries, keys].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bias_of(mask: Tensor) -> Tensor:
    """Return the bias, of the same shape, that a bool mask stands for: True = may attend."""
    return torch.where(mask, 0.0, -math.inf)


def padding(mask: Tensor) -> Tensor:
    """Return the bias [rows, 1, 1, keys] that hides keys where mask [rows, keys] is False."""
    return bias_of(mask)[:, None, None]


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Return the bias [rows, 1, queries, keys] by which a query sees its own position and those before it.

    Positions are [rows, queries] and [rows, keys].
    """
    return bias_of(key_positions.unsqueeze(1) <= query_positions.unsqueeze(2)).unsqueeze(1)
