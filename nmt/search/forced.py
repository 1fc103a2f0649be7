"""What a forced target is worth: the log-probability of each of its tokens, and its score as search would have it."""

from __future__ import annotations

from typing import NamedTuple

from nmt.search.penalties import LengthPenalty


class Forced(NamedTuple):
    """A target that the model was made to say."""

    token_log_probs: list[float]  # natural logarithms; of the end of sentence, too, where the target has it
    coverage: float = 0.0  # the coverage penalty, where there is one

    @property
    def log_prob(self) -> float:
        """The sum over all tokens."""
        return sum(self.token_log_probs)

    def score(self, length_penalty: LengthPenalty) -> float:
        """log_prob over the length penalty, plus the coverage penalty."""
        return self.log_prob / length_penalty(len(self.token_log_probs)) + self.coverage
