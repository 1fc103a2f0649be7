"""Multi-scale retention, from Sun et al. 2023, in its parallel and its recurrent form."""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple

import torch
from torch import Tensor


class Matrices(NamedTuple):
    """The matrices of a layer, [dim, dim] each; a projection of x is W x."""

    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor
    output: Tensor


def as_complex(x: Tensor, n: int) -> Tensor:
    """Return x [d] as d / 2 complex numbers, each rotated by its angle n theta_i."""
    turned = [
        torch.complex(x[2 * i], x[2 * i + 1]) * cmath.exp(1j * n * 10000 ** (-2 * i / len(x)))
        for i in range(len(x) // 2)
    ]
    return torch.stack(turned)


def product(q: Tensor, k: Tensor) -> Tensor:
    """Return Q_n K_m^T, where K is conjugated, as a real number, divided by sqrt(d) (section 2.2)."""
    return (q * k.conj()).sum().real / math.sqrt(2 * len(q))


def parallel(q: list[Tensor], k: list[Tensor], v: list[Tensor], gamma: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Return (Q K^T * D) V [length, d] (eq. 5) and Q K^T * D [length, length] of one head.

    If not causal, D_nm is gamma^|n - m| (Fan et al. 2024).
    """
    scores = [
        [gamma ** abs(n - m) * product(q[n], k[m]) if n >= m or not causal else 0 * v[m][0] for m in range(len(k))]
        for n in range(len(q))
    ]
    heads = [sum(scores[n][m] * v[m] for m in range(len(v))) for n in range(len(q))]
    return torch.stack(heads), torch.stack([torch.stack(row) for row in scores])


def recurrent(q: list[Tensor], k: list[Tensor], v: list[Tensor], gamma: float) -> Tensor:
    """Return Q_n S_n [length, d] of one head, with S_n = gamma S_{n-1} + K_n^T V_n (eq. 6)."""
    state = torch.zeros(len(k[0]), len(v[0]), dtype=k[0].dtype)
    heads = []
    for q_n, k_n, v_n in zip(q, k, v, strict=True):
        state = gamma * state + torch.outer(k_n.conj(), v_n.to(k_n.dtype))
        heads.append((q_n @ state).real / math.sqrt(2 * len(q_n)))
    return torch.stack(heads)


def group_norm(y: Tensor) -> Tensor:
    """Normalise the components of one head at one position [d]."""
    mean = sum(y) / len(y)
    variance = sum((each - mean) ** 2 for each in y) / len(y)
    return (y - mean) / torch.sqrt(variance + 1e-5)


def retention(x: Tensor, w: Matrices, num_heads: int, form: str) -> tuple[Tensor, Tensor | None]:
    """Return the outputs [length, dim] for a sentence x [length, dim] (eq. 8), and the products of Q and K with D.

    The form is parallel, bidirectional or recurrent. The products [heads, length, length] are not in the recurrence.
    """
    d = x.size(1) // num_heads
    heads, shown = [], []
    for head in range(num_heads):
        gamma = 1 - 2 ** (-5 - head)
        rows = slice(head * d, (head + 1) * d)
        q = [as_complex(w.query[rows] @ x[n], n) for n in range(len(x))]
        k = [as_complex(w.key[rows] @ x[n], n) for n in range(len(x))]
        v = [w.value[rows] @ x[n] for n in range(len(x))]
        if form == "recurrent":
            heads.append(recurrent(q, k, v, gamma))
        else:
            each, products = parallel(q, k, v, gamma, causal=form == "parallel")
            heads.append(each)
            shown.append(products)
    outputs = []
    for n in range(len(x)):
        gate = w.gate @ x[n]
        y = torch.cat([group_norm(each[n]) for each in heads])
        outputs.append(w.output @ (gate / (1 + torch.exp(-gate)) * y))
    return torch.stack(outputs), torch.stack(shown) if shown else None
