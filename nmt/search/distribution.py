"""The distribution that sampling draws tokens from: the model's own, or a sharpened or truncated form of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmt.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


_LEAST_TEMPERATURE = 1e-6  # below it, scaled differences of log-probabilities exceed the range of a float


@dataclass(frozen=True)
class Sampling:
    """The settings of sampling. temperature is applied first, then top_k, then top_p to the tokens that top_k has kept.

    Raises UsageError for values out of range.
    """

    temperature: float = 1.0  # divisor of log-probabilities; close to 0 sampling becomes greedy search
    top_k: int | None = None  # draw from the k most probable tokens only (Fan et al. 2018)
    top_p: float | None = None  # draw from the fewest tokens that reach p together (Holtzman et al. 2020)
    seed: int = 1

    def __post_init__(self) -> None:
        if not _LEAST_TEMPERATURE <= self.temperature < math.inf:
            raise UsageError(
                f"the sampling temperature is {self.temperature}, but has to be finite and at least "
                f"{_LEAST_TEMPERATURE} (close to 0 sampling becomes greedy search: use a beam of 1 instead)"
            )
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"the k of top-k sampling has to be a number of tokens, 1 or more, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"the p of top-p sampling has to be a probability above 0 and at most 1, not {self.top_p}")

    def weights(self, log_probs: Tensor) -> Tensor:
        """Turn log_probs [rows, vocab] into weights [rows, vocab] to draw tokens by; excluded tokens have zero.

        Tokens as probable as the last one that is kept are kept too, so that the order of tokens does not matter.
        """
        # temperature
        log_probs = (log_probs - log_probs.amax(1, keepdim=True)) / self.temperature
        # top_k
        if self.top_k is not None:
            least = log_probs.topk(min(self.top_k, log_probs.size(1))).values[:, -1:]
            log_probs = log_probs.masked_fill(log_probs < least, -math.inf)
        weights = log_probs.softmax(1)
        # top_p
        if self.top_p is not None:
            ordered = weights.sort(descending=True).values
            before = ordered.cumsum(1) - ordered  # the total probability of all tokens that are more probable
            least = ordered.masked_fill(before >= self.top_p, math.inf).amin(1, keepdim=True)
            weights = weights.masked_fill(weights < least, 0.0)
        return weights
