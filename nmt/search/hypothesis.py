"""What a search returns."""

from __future__ import annotations

import math
from typing import NamedTuple

from nmt.errors import NmtError
from nmt.search.penalties import LengthPenalty


class Hypothesis(NamedTuple):
    """One translation as token ids, with its score."""

    tokens: list[int]  # without the end of sentence
    log_prob: float  # natural logarithm, summed over the tokens and, where it finished, the end of sentence
    score: float  # log_prob over the length penalty, plus the coverage penalty where there is one
    finished: bool = True  # False: it reached the longest length allowed without an end of sentence


def hypothesis(
    tokens: list[int], log_prob: float, length_penalty: LengthPenalty, finished: bool, coverage: float = 0.0
) -> Hypothesis:
    """A hypothesis of these tokens (without the end of sentence), scored; NaN from the model ends the search."""
    if math.isnan(log_prob):
        raise NmtError("the model answers with NaN instead of probabilities: its weights are damaged or diverged")
    score = log_prob / length_penalty(len(tokens) + finished) + coverage
    return Hypothesis(tokens, log_prob, score, finished)
