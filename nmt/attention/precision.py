"""The precision of parts of attention: float32 for sums and exponentials, the dtype of autocast for matrix products."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Return x in float32 or better: for sums over many terms, and for exponentials."""
    return x.to(wide_dtype(x))


def wide_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype that `wide` would give to the tensor."""
    return torch.promote_types(like.dtype, torch.float32)


def for_products(x: Tensor) -> Tensor:
    """Return x in the dtype in which autocast computes matrix products, so that it is not converted at each step."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or x.dtype != torch.float32:
        return x
    return x.to(torch.get_autocast_dtype(kind))
