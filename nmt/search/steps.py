"""Parts that all searches share: picking the best candidates, and removing finished sentences from the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nmt.device import is_waited_for

# the share of finished rows at which they are removed: copying memory and state takes as long as some steps
_WORTH_COPYING = 1 / 8
LOOK_EVERY = 8  # steps between two looks, on a device that the program has to wait for


class Remaining:
    """The sentences still in the batch, and the steps at which to look for finished ones.

    A search looks every few steps, and whenever a sentence reaches its maximum length. The result of a finished
    sentence is taken at once. Its row stays in the batch, ignored, until enough rows have finished to make a copy of
    the batch without them worthwhile.
    """

    def __init__(self, max_lengths: Tensor, width: int = 1) -> None:
        """Start with a whole batch. `width` is the number of rows per sentence; with more, a copy pays off sooner."""
        self.worth_copying = _WORTH_COPYING / width
        self.limits: list[int] = max_lengths.tolist()
        self.sentences: list[int | None] = list(range(len(self.limits)))  # for each row; None once its result is taken
        self.interval = LOOK_EVERY if is_waited_for(max_lengths.device) else 1
        self.longest = max(self.limits, default=0)

    def look_now(self, length: int) -> bool:
        """Return whether to look for finished sentences after `length` steps."""
        limits = (self.limits[sentence] for sentence in self.sentences if sentence is not None)
        return length % self.interval == 0 or length == min(limits)

    def leave(self, leaving: Tensor) -> tuple[list[tuple[int, int]], Tensor | None]:
        """Take the sentences where leaving [batch] is True; return them as (row, sentence), and the rows to keep.

        The rows are None to keep all. Afterwards `sentences` has the sentence of each kept row; it is empty when all
        sentences have finished.
        """
        flags = leaving.tolist()
        left = [(row, sentence) for row, sentence in enumerate(self.sentences) if sentence is not None and flags[row]]
        for row, _ in left:
            self.sentences[row] = None
        stay = [row for row, sentence in enumerate(self.sentences) if sentence is not None]
        if len(stay) > (1 - self.worth_copying) * len(self.sentences):
            return left, None
        self.sentences = [self.sentences[row] for row in stay]
        return left, torch.tensor(stay, dtype=torch.long, device=leaving.device)


def top_candidates(candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return values and indices [batch, k] of the k highest candidates [batch, n]; on a tie the lower index wins.

    torch.topk does not define in which order it returns equal values; two sorts of the k values restore the order. Nor
    does it define which equal values it returns if there are more than fit into k; this case is found by asking for one
    more value, except on devices where that check would make every step wait.
    """
    values, indices = candidates.topk(min(k + 1, candidates.size(1)))
    if values.size(1) > k and not is_waited_for(candidates.device):
        across = (values[:, k - 1] == values[:, k]) & (values[:, k] > -math.inf)
        if across.any():
            rows = across.nonzero().flatten()
            indices[rows, :k] = _top_in_total_order(candidates[rows], k)
            values = candidates.gather(1, indices)
    indices, order = indices[:, :k].sort()
    values, order = values[:, :k].gather(1, order).sort(descending=True, stable=True)
    return values, indices.gather(1, order)


def _top_in_total_order(candidates: Tensor, k: int) -> Tensor:
    """Return the indices [batch, k] of the highest candidates, on a tie the lower index first.

    Candidates are compared as integers made of the float's bits and the index. That is several times slower than topk
    on floats, but few rows need it.
    """
    bits = candidates.float().view(torch.int32).long()
    bits = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # increases with the float, also for negative floats
    return ((bits << 32) - torch.arange(candidates.size(1), device=candidates.device)).topk(k).indices
