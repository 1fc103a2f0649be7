"""Feed-forward networks of Vaswani et al. 2017 (eq. 2), Shazeer 2020 (eqs. 5 and 6) and So et al. 2021, in loops.

Matrices are [to, from]; Shazeer 2020 has no biases.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Vector = list[float]
Matrix = list[Vector]


def relu(x: float) -> float:
    return max(0.0, x)


def gelu(x: float) -> float:
    """Return x Phi(x) with the distribution function Phi of the standard normal distribution."""
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def swish(x: float) -> float:
    """Return Swish_1(x) = x sigmoid(x)."""
    return x / (1 + math.exp(-x))


def squared_relu(x: float) -> float:
    return relu(x) ** 2


def affine(w: Matrix, b: Vector, x: Vector) -> Vector:
    return [sum(w_ij * x_j for w_ij, x_j in zip(row, x, strict=True)) + b_i for row, b_i in zip(w, b, strict=True)]


def ffn(x: Vector, f: Callable[[float], float], w_1: Matrix, b_1: Vector, w_2: Matrix, b_2: Vector) -> Vector:
    """Return f(x W_1 + b_1) W_2 + b_2."""
    return affine(w_2, b_2, [f(h) for h in affine(w_1, b_1, x)])


def ffn_glu(
    x: Vector, f: Callable[[float], float], w: Matrix, b: Vector, v: Matrix, c: Vector, w_2: Matrix, b_2: Vector
) -> Vector:
    """Return (f(x W + b) * (x V + c)) W_2 + b_2."""
    gates, values = affine(w, b, x), affine(v, c, x)
    return affine(w_2, b_2, [f(gate) * value for gate, value in zip(gates, values, strict=True)])
