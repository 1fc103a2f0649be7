"""Constraints on hypotheses: banned tokens, a minimum length, and a prefix to start with."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Constraints(NamedTuple):
    """The constraints of a batch. `nmt.models.contract.select` reduces them to the sentences that stay in the batch."""

    eos: int
    banned: tuple[int, ...] = ()  # token ids that no hypothesis may contain
    min_lengths: Tensor | None = None  # [batch], in tokens including the end of sentence
    prefixes: Tensor | None = None  # [batch, longest], the token ids to start with; negative after their end

    def apply(self, log_probs: Tensor, length: int) -> None:
        """Set log_probs [batch * beam, vocab] of forbidden tokens to minus infinity, in place.

        `length` is the number of the next token, from 1. A required token keeps its log-probability, so that a forced
        hypothesis has the score of its tokens.
        """
        # banned tokens
        for token in self.banned:  # one by one: an index of several would be made into a tensor at every step
            log_probs.select(1, token).fill_(-math.inf)
        # minimum length
        if self.min_lengths is not None:
            too_short = self._each_row(self.min_lengths > length, log_probs)
            log_probs[:, self.eos].masked_fill_(too_short, -math.inf)
        # prefix
        if self.prefixes is not None and length <= self.prefixes.size(1):
            required = self._each_row(self.prefixes[:, length - 1], log_probs)
            rows = (required >= 0).nonzero().flatten()
            tokens = required[rows]
            kept = log_probs[rows, tokens]
            log_probs[rows] = -math.inf
            log_probs[rows, tokens] = kept

    @staticmethod
    def _each_row(per_sentence: Tensor, log_probs: Tensor) -> Tensor:
        """Repeat the value of each sentence [batch] for each of its hypotheses: [batch * beam]."""
        return per_sentence.repeat_interleave(log_probs.size(0) // max(per_sentence.size(0), 1))
