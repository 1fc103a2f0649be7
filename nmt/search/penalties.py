"""How a hypothesis is scored: its log-probability, normalised by its length, less what it left untranslated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

if TYPE_CHECKING:
    from torch import Tensor

    from nmt.config.schema import SearchConfig

Normalisation = Literal["power", "gnmt"]


class LengthPenalty(NamedTuple):
    """What a hypothesis's log-probability is divided by; it never falls as the length grows, and alpha = 0 is 1."""

    alpha: float = 0.0
    form: Normalisation = "gnmt"

    @classmethod
    def of(cls, options: SearchConfig) -> LengthPenalty:
        """The penalty that search settings ask for."""
        return cls(options.length_penalty, options.length_normalisation)

    @overload
    def __call__(self, length: int) -> float: ...
    @overload
    def __call__(self, length: Tensor) -> Tensor: ...
    def __call__(self, length: int | Tensor) -> float | Tensor:
        """The penalty of a length in target tokens with the end of sentence.

        gnmt: lp(Y) = ((5 + |Y|) / 6) ** alpha (Wu et al. 2016, eq. 14). power: |Y| ** alpha, so that alpha = 1 ranks by
        the mean log-probability of a token.
        """
        base = (5 + length) / 6 if self.form == "gnmt" else length
        penalty: float | Tensor = base**self.alpha
        return penalty


def coverage_penalty(coverage: Tensor, mask: Tensor, beta: float) -> Tensor:
    """cp(X; Y) = beta * sum_i log(min(sum_j p_ij, 1)) (Wu et al. 2016, eq. 14), never positive: [rows].

    coverage [rows, src_len] is the attention that source position i has had from all target tokens so far; mask
    [rows, src_len] is True at its tokens. A position without any attention counts as having had e^-30.
    """
    per_position = coverage.clamp(min=1e-13, max=1.0).log()
    return beta * per_position.masked_fill(~mask, 0.0).sum(dim=1)
