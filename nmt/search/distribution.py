"""What tokens are drawn from: the model's distribution, or some of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmt.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


_LEAST_TEMPERATURE = 1e-6  # below it, differences of log-probabilities leave the range of a float


@dataclass(frozen=True)
class Sampling:
    """What tokens are drawn from: the temperature acts first, then top_k, then top_p on what top_k left.

    Raises UsageError for values out of range.
    """

    temperature: float = 1.0  # log-probabilities are divided by it; towards 0 sampling becomes greedy search
    top_k: int | None = None  # only the k most probable tokens (Fan et al. 2018)
    top_p: float | None = None  # only the nucleus, the most probable ones that reach p together (Holtzman et al. 2020)
    seed: int = 1

    def __post_init__(self) -> None:
        if not _LEAST_TEMPERATURE <= self.temperature < math.inf:
            raise UsageError(
                f"a temperature of {self.temperature} cannot be sampled with: it must be {_LEAST_TEMPERATURE} or more "
                "(towards 0 sampling becomes greedy search, a beam of 1)"
            )
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top-k sampling draws from the {self.top_k} most probable tokens: k must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"the nucleus of top-p sampling is a probability above 0 and at most 1, not {self.top_p}")

    def weights(self, log_probs: Tensor) -> Tensor:
        """log_probs [rows, vocab] -> what to draw in proportion to [rows, vocab]; zero for what is excluded.

        Tokens as probable as the last one that is kept are kept too, so that their order does not matter.
        """
        log_probs = (log_probs - log_probs.amax(1, keepdim=True)) / self.temperature
        if self.top_k is not None:
            least = log_probs.topk(min(self.top_k, log_probs.size(1))).values[:, -1:]
            log_probs = log_probs.masked_fill(log_probs < least, -math.inf)
        weights = log_probs.softmax(1)
        if self.top_p is not None:
            ordered = weights.sort(descending=True).values
            before = ordered.cumsum(1) - ordered  # the probability of the more probable ones
            least = ordered.masked_fill(before >= self.top_p, math.inf).amin(1, keepdim=True)
            weights = weights.masked_fill(weights < least, 0.0)
        return weights
