"""What a hypothesis must and must not say: banned tokens, a least length, the tokens it begins with."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Constraints(NamedTuple):
    """The constraints of a batch; `select` takes those of the sentences that stay."""

    eos: int
    banned: tuple[int, ...] = ()
    min_lengths: Tensor | None = None  # [batch], in tokens with the end of sentence
    prefixes: Tensor | None = None  # [batch, longest], what each must begin with; negative where it has ended

    def apply(self, log_probs: Tensor, length: int) -> None:
        """Make what token number `length` (from 1) must not be impossible: log_probs [batch * beam, vocab], in place.

        A token that is demanded keeps its log-probability, so that a forced hypothesis has the score of its tokens.
        """
        for token in self.banned:  # one after the other: an index of several is made into a tensor at every step
            log_probs.select(1, token).fill_(-math.inf)
        if self.min_lengths is not None:
            too_short = self._each_row(self.min_lengths > length, log_probs)
            log_probs[:, self.eos].masked_fill_(too_short, -math.inf)
        if self.prefixes is not None and length <= self.prefixes.size(1):
            demanded = self._each_row(self.prefixes[:, length - 1], log_probs)
            rows = (demanded >= 0).nonzero().flatten()
            tokens = demanded[rows]
            kept = log_probs[rows, tokens]
            log_probs[rows] = -math.inf
            log_probs[rows, tokens] = kept

    @staticmethod
    def _each_row(of_sentences: Tensor, log_probs: Tensor) -> Tensor:
        """[batch] -> [batch * beam]."""
        return of_sentences.repeat_interleave(log_probs.size(0) // max(of_sentences.size(0), 1))
