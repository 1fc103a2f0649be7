"""The kernels of dynamic convolution, from Wu et al. 2019, section 4; the rest is as in lightweight convolution."""

from __future__ import annotations

import torch
from torch import Tensor


def predicted(x: Tensor, w: Tensor, i: int, head: int) -> Tensor:
    """Return f(X_i)_head [k] for x [length, dim] and w [heads, k, dim]: sum over c of W_{h, j, c} X_{i, c}."""
    _, k, dim = w.shape
    return torch.stack([sum(w[head - 1, j, c] * x[i - 1, c] for c in range(dim)) for j in range(k)])
