"""Penalties in the score of a hypothesis: for its length, and for source tokens that it left untranslated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

if TYPE_CHECKING:
    from torch import Tensor

    from nmt.config.schema import SearchConfig

Normalisation = Literal["power", "gnmt"]


class LengthPenalty(NamedTuple):
    """The divisor of a hypothesis's log-probability. It never decreases with length, and is 1 if alpha = 0."""

    alpha: float = 0.0
    form: Normalisation = "power"

    @classmethod
    def of(cls, options: SearchConfig) -> LengthPenalty:
        """Return the penalty that the search settings ask for."""
        return cls(options.length_penalty, options.length_normalisation)

    @overload
    def __call__(self, length: int) -> float: ...
    @overload
    def __call__(self, length: Tensor) -> Tensor: ...
    def __call__(self, length: int | Tensor) -> float | Tensor:
        """Return the penalty of a length in target tokens, including the end of sentence.

        gnmt: lp(Y) = ((5 + |Y|) / 6) ** alpha (Wu et al. 2016, eq. 14). power: |Y| ** alpha, so that alpha = 1 ranks by
        the mean log-probability per token.
        """
        base = (5 + length) / 6 if self.form == "gnmt" else length
        penalty: float | Tensor = base**self.alpha
        return penalty


def coverage_penalty(coverage: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return cp(X; Y) = beta * sum_i log(min(sum_j p_ij, 1)) (Wu et al. 2016, eq. 14), never positive: [rows].

    coverage [rows, src_len] is the attention that source position i has received from all target tokens so far; mask
    [rows, src_len] is True at source tokens. Attention below 1e-13 counts as 1e-13, so that the logarithm is finite.
    """
    per_position = coverage.clamp(min=1e-13, max=1.0).log()
    return beta * per_position.masked_fill(~mask, 0.0).sum(dim=1)
