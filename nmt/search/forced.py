"""The result of forcing a target: the log-probability of each token, and the score that search would give it."""

from __future__ import annotations

from typing import NamedTuple

from nmt.search.penalties import LengthPenalty


class Forced(NamedTuple):
    """The log-probabilities that a model gives to the tokens of a given target."""

    token_log_probs: list[float]  # natural logarithms, including the end of sentence if the target has it
    coverage: float = 0.0  # the coverage penalty, if there is one

    @property
    def log_prob(self) -> float:
        """The log-probability of the target, the sum over its tokens."""
        return sum(self.token_log_probs)

    def score(self, length_penalty: LengthPenalty) -> float:
        """Return log_prob divided by the length penalty, plus the coverage penalty."""
        return self.log_prob / length_penalty(len(self.token_log_probs)) + self.coverage
