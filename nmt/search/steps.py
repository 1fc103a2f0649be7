"""What every search does between two steps: pick candidates, and let finished sentences leave the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 64  # tokens of the vocabulary
_FEW_ROWS = 5
_WORTH_COPYING = 1 / 8  # of a batch, row by row: to copy memory and state without them takes as long as some steps
LOOK_EVERY = {"cpu": 1, "cuda": 8, "mps": 8}  # steps: a look costs nothing on a CPU, but an accelerator is waited for


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
        self.interval = LOOK_EVERY[max_lengths.device.type]
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


def best_token(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The highest of each row of log_probs [rows, vocab] and its token [rows], of equals the lower one.

    A maximum of blocks and then one within a block: several times faster, of more than a few rows, than max, which
    keeps indices throughout.
    """
    if log_probs.size(0) <= _FEW_ROWS:
        value, tokens = log_probs.max(1)
        return value, tokens
    vocab = log_probs.size(1)
    block = _block_maxima(log_probs).argmax(1, keepdim=True)
    tokens = (block * BLOCK + torch.arange(BLOCK, device=log_probs.device)).clamp_(max=vocab - 1)
    value, place = log_probs.gather(1, tokens).max(1, keepdim=True)
    return value.squeeze(1), tokens.gather(1, place).squeeze(1)


def top_extensions(prefixes: Tensor, log_probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of prefixes [batch, beam] + log_probs [batch, beam, vocab], over beam x vocab, as `top_candidates`.

    Only the blocks of the vocabulary with the highest maxima are looked into: the k + 1 best are in the k + 1 best
    blocks, and finding those of a maximum is several times faster than topk over all.
    """
    batch, beam, vocab = log_probs.shape
    blocks = -(-vocab // BLOCK)
    if beam * blocks <= 2 * k:
        return top_candidates((prefixes.unsqueeze(2) + log_probs).view(batch, -1), k)
    highest = prefixes.unsqueeze(2) + _block_maxima(log_probs)  # adding rounds monotonously: the sums' maxima
    values, chosen = highest.view(batch, -1).topk(k + 1)
    least = values[:, k]
    chosen = chosen.sort().values  # so that of equals the lower index comes first
    rows, block = chosen // blocks, chosen % blocks  # [batch, k + 1]
    tokens = block.unsqueeze(2) * BLOCK + torch.arange(BLOCK, device=log_probs.device)
    indices = (rows.unsqueeze(2) * vocab + tokens.clamp(max=vocab - 1)).flatten(1)
    candidates = log_probs.view(batch, -1).gather(1, indices).view(tokens.shape) + prefixes.gather(1, rows).unsqueeze(2)
    candidates = candidates.masked_fill_(tokens >= vocab, -math.inf).flatten(1)
    values, places = top_candidates(candidates, k)
    indices = indices.gather(1, places)
    if log_probs.is_cpu:
        across = (values[:, k - 1] == least) & (least > -math.inf)  # an equal may be in a block that was not chosen
        if across.any():
            ties = across.nonzero().flatten()
            everything = (prefixes[ties].unsqueeze(2) + log_probs[ties]).flatten(1)
            values[ties], indices[ties] = top_candidates(everything, k)
    return values, indices


def _block_maxima(log_probs: Tensor) -> Tensor:
    """The highest of each block of the vocabulary, the last one being what is left: [..., vocab] -> [..., blocks]."""
    vocab = log_probs.size(-1)
    whole = vocab // BLOCK
    maxima: Tensor = log_probs[..., : whole * BLOCK].unflatten(-1, (whole, BLOCK)).amax(-1)
    if vocab % BLOCK:
        maxima = torch.cat((maxima, log_probs[..., whole * BLOCK :].amax(-1, keepdim=True)), dim=-1)
    return maxima


def top_candidates(candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of each row of candidates [batch, n], as values and indices [batch, k], ties by the lower index.

    torch.topk leaves open in which order it gives equals, which two sorts of k values mend, and which of the equals it
    takes. Those on both sides of the cut are found by asking for one more, on the CPU alone: elsewhere the look would
    make every step wait for the device.
    """
    values, indices = candidates.topk(min(k + 1, candidates.size(1)))
    if values.size(1) > k and candidates.is_cpu:
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
