"""A hypothesis, the result of a search."""

from __future__ import annotations

import math
from typing import NamedTuple

from nmt.errors import returned_nan
from nmt.search.penalties import LengthPenalty


class Hypothesis(NamedTuple):
    """A translation as token ids, with its score."""

    tokens: list[int]  # without the end of sentence
    log_prob: float  # natural logarithm, summed over the tokens and, if finished, the end of sentence
    score: float  # log_prob divided by the length penalty, plus the coverage penalty if there is one
    finished: bool = True  # False if it reached the maximum length without an end of sentence
    unknown: tuple[str, ...] = ()  # the words that replace its unknown tokens in the text; empty: they are not replaced


def hypothesis(
    tokens: list[int], log_prob: float, length_penalty: LengthPenalty, finished: bool, coverage: float = 0.0
) -> Hypothesis:
    """Return a hypothesis with these tokens (no end of sentence) and its score; raise NmtError if log_prob is NaN."""
    if math.isnan(log_prob):
        raise returned_nan()
    score = log_prob / length_penalty(len(tokens) + finished) + coverage
    return Hypothesis(tokens, log_prob, score, finished)
