"""How a hypothesis is scored: its log-probability, normalised by its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from torch import Tensor


@overload
def length_penalty(length: int, alpha: float) -> float: ...
@overload
def length_penalty(length: Tensor, alpha: float) -> Tensor: ...
def length_penalty(length: int | Tensor, alpha: float) -> float | Tensor:
    """The GNMT length penalty lp(Y) = ((5 + |Y|) / 6) ** alpha (Wu et al. 2016, eq. 14).

    |Y| counts target tokens with the end of sentence. It never falls as |Y| grows; alpha = 0 is 1 everywhere.
    """
    penalty: float | Tensor = ((5 + length) / 6) ** alpha
    return penalty
