"""Residual connections of Wu et al. 2016, with the layer normalisation of Ba et al. 2016, for one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Layer = Callable[[Tensor], Tensor]  # m^i_1 ... m^i_n from the inputs of layer i, [n, size] each


def normalise(a: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Return gain / sigma * (a - mu) + bias for the H units of one vector (Ba et al. 2016, eqs. 3 and 4)."""
    H = len(a)
    mu = torch.stack([a[i] for i in range(H)]).sum() / H
    sigma = torch.sqrt(torch.stack([(a[i] - mu) ** 2 for i in range(H)]).sum() / H + 1e-5)
    return torch.stack([gain[i] / sigma * (a[i] - mu) + bias[i] for i in range(H)])


def stack(x: Tensor, layers: Sequence[Layer], norms: Sequence[tuple[Tensor, Tensor]], residual: bool) -> Tensor:
    """Return x^L_t = m^L_t + x^{L-1}_t for all t, where layer i > 1 reads LN(x^{i-1}_t); `norms` may be empty."""
    x = layers[0](x)
    for i in range(1, len(layers)):
        read = torch.stack([normalise(x[t], *norms[i - 1]) for t in range(len(x))]) if norms else x
        m = layers[i](read)
        x = torch.stack([m[t] + x[t] if residual else m[t] for t in range(len(x))])
    return x
