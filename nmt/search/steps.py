"""What every search does between two steps: pick candidates, and let finished sentences leave the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nmt.device import is_waited_for

_WORTH_COPYING = 1 / 8  # of a batch, row by row: to copy memory and state without them takes as long as some steps
LOOK_EVERY = 8  # steps, on a device that a look waits for


class Remaining:
    """The sentences still in the batch, and when to look whether some have finished.

    That is every few steps, and where a sentence reaches the longest length it may have. A sentence that has finished
    is answered at once; its row goes on, unread, until the batch is worth copying without all such rows.
    """

    def __init__(self, max_lengths: Tensor, width: int = 1) -> None:
        """width is how many rows of a step each sentence has, which the copy is worth sooner for."""
        self.worth_copying = _WORTH_COPYING / width
        self.limits: list[int] = max_lengths.tolist()
        self.sentences: list[int | None] = list(range(len(self.limits)))  # of each row, None once it is answered
        self.interval = LOOK_EVERY if is_waited_for(max_lengths.device) else 1
        self.longest = max(self.limits, default=0)

    def look_now(self, length: int) -> bool:
        """Whether to look after `length` steps."""
        limits = (self.limits[sentence] for sentence in self.sentences if sentence is not None)
        return length % self.interval == 0 or length == min(limits)

    def leave(self, leaving: Tensor) -> tuple[list[tuple[int, int]], Tensor | None]:
        """What finishes where leaving [batch] is True, as (row, sentence), and the rows to go on with, None for all.

        Afterwards `sentences` names those of the rows that stay; it is empty when all are answered.
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
    """The k highest of each row of candidates [batch, n], as values and indices [batch, k], ties by the lower index.

    torch.topk leaves open in which order it gives equals, which two sorts of k values mend, and which of the equals it
    takes. Those on both sides of the cut are found by asking for one more, where the look does not make every step wait
    for the device.
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
    """The indices [batch, k] of the highest, of equals the lower index: float bits and index in one integer.

    Several times slower than topk on floats, and needed for few rows.
    """
    bits = candidates.float().view(torch.int32).long()
    bits = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # rises with the float, negative ones too
    return ((bits << 32) - torch.arange(candidates.size(1), device=candidates.device)).topk(k).indices
