"""Batched beam search for every model: the caller passes a step function, the memory of the source and a state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nmt.models.contract import Memory, SearchState, Step, select
from nmt.search.constraints import Constraints
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.steps import Remaining, top_candidates


class Open(NamedTuple):
    """The open hypotheses of each sentence, best first. A log_prob of minus infinity marks an empty place."""

    log_probs: Tensor  # [batch, beam]
    tokens: Tensor  # [batch, beam, steps]


class Pool(NamedTuple):
    """The best finished hypotheses of each sentence, best first. A score of minus infinity marks an empty place."""

    scores: Tensor  # [batch, beam], log_probs divided by the length penalty, plus the coverage penalty
    log_probs: Tensor  # [batch, beam], including the end of sentence
    coverage: Tensor  # [batch, beam], the coverage penalty
    lengths: Tensor  # [batch, beam], including the end of sentence
    tokens: Tensor  # [batch, beam, steps]


def beam_search(
    step: Step,
    memory: Memory,
    state: SearchState,
    *,
    bos: int,
    beam_size: int,
    max_lengths: Tensor,
    constraints: Constraints,
    length_penalty: LengthPenalty = LengthPenalty(),  # noqa: B008 (a constant)
    coverage: Callable[[SearchState], Tensor] | None = None,
    stop: Literal["full", "exact"] = "full",
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Return up to n_best hypotheses for each sentence, best score first.

    memory and state have one row per sentence. max_lengths [batch], each at least 1, are the maximum numbers of tokens,
    including the end of sentence. `coverage` returns the coverage penalty [rows] of a state, which is never positive
    and is added to the score of a hypothesis that ends in this state.

    At each step the candidates of a sentence are all its open hypotheses, each extended by every token. A
    candidate that ends becomes a finished hypothesis if it is among the best beam_size candidates. Of the candidates
    that do not end, the best beam_size stay open, so that the beam does not get narrower when hypotheses finish. On a
    tie the earlier hypothesis wins, then the lower token id.

    With stop=full a sentence is done once beam_size hypotheses have finished. With stop=exact it is done once no open
    hypothesis can still beat the worst of its n_best finished ones (`settled`). This takes more steps, but a beam that
    is so wide that it never drops a hypothesis then gives the result of an exhaustive search. If no hypothesis of a
    sentence has finished at the maximum length, its best open ones are returned and marked as unfinished.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best={n_best} has to be between 1 and beam_size={beam_size}")
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths, beam_size)
    open_, pool = _start(max_lengths.size(0), beam_size, max_lengths.device)
    last = torch.full_like(max_lengths, bos)  # [rows]
    for length in range(1, remaining.longest + 1):
        # one step of the model
        log_probs, state = step(last, memory, state)
        constraints.apply(log_probs, length)
        # new open and finished hypotheses
        ending = torch.zeros_like(open_.log_probs) if coverage is None else coverage(state).view_as(open_.log_probs)
        if stop == "full":  # a full pool takes no more hypotheses, even if its sentence is still in the batch
            ending = ending.masked_fill(full(pool).unsqueeze(1), -math.inf)
        open_, pool, parents = _advance(open_, pool, log_probs, ending, constraints.eos, length, length_penalty)
        # sentences that are done leave the batch
        if remaining.look_now(length):
            enough = full(pool) if stop == "full" else settled(open_, pool, max_lengths, length_penalty, n_best)
            left, stay = remaining.leave(enough | (max_lengths <= length))
            for row, sentence in left:
                found[sentence] = _answer(open_, pool, row, n_best, length_penalty)
            if not remaining.sentences:
                break
            if stay is not None:
                memory, constraints = select(memory, stay), select(constraints, stay)
                open_, pool, parents, max_lengths = select((open_, pool, parents, max_lengths), stay)
        # each open hypothesis continues from the state of its parent
        state = select(state, parents.flatten())
        last = open_.tokens[:, :, -1].flatten()
    return [found[sentence] for sentence in range(len(found))]


def settled(open_: Open, pool: Pool, max_lengths: Tensor, length_penalty: LengthPenalty, n_best: int) -> Tensor:
    """Return which sentences [batch] are done: no open hypothesis can beat the worst of their n_best finished ones.

    A log-probability is never positive and only falls as a hypothesis grows, while the length penalty that divides it
    only rises, and no coverage penalty is positive. So no continuation of an open hypothesis can score better than its
    current log-probability divided by the length penalty at the maximum length.
    """
    bound = open_.log_probs.amax(dim=1) / length_penalty(max_lengths)
    return pool.scores[:, n_best - 1] >= bound


def full(pool: Pool) -> Tensor:
    """Return which sentences [batch] have beam_size finished hypotheses."""
    return pool.scores[:, -1] > -math.inf


def _start(batch: int, beam_size: int, device: torch.device) -> tuple[Open, Pool]:
    """Return one open hypothesis per sentence, the empty prefix, and empty pools."""
    tokens = torch.empty(batch, beam_size, 0, dtype=torch.long, device=device)
    lengths = torch.zeros(batch, beam_size, dtype=torch.long, device=device)
    empty = torch.full((batch, beam_size), -math.inf, device=device)
    return Open(torch.zeros(batch, 1, device=device), tokens[:, :1]), Pool(empty, empty, empty, lengths, tokens)


def _advance(
    open_: Open,
    pool: Pool,
    log_probs: Tensor,
    ending: Tensor,
    eos: int,
    length: int,
    length_penalty: LengthPenalty,
) -> tuple[Open, Pool, Tensor]:
    """Extend the open hypotheses by one token; return the new open ones, the new pool, and the open ones' parents.

    log_probs [rows, vocab] are the model's for the next token, and ending [batch, beam] is the coverage penalty of a
    hypothesis that ends now. The parents [batch, beam] are row numbers in the state.
    """
    # the best candidates
    batch, width = open_.log_probs.shape
    vocab, beam_size = log_probs.size(1), pool.scores.size(1)
    sums = open_.log_probs.unsqueeze(2) + log_probs.view(batch, width, vocab)
    # only one candidate of each open hypothesis ends, so at least beam_size of the best 2 * beam_size do not end
    values, indices = top_candidates(sums.flatten(1), min(2 * beam_size, width * vocab))
    parents = indices.div(vocab, rounding_mode="floor")
    last = indices % vocab
    tokens = torch.cat([_take(open_.tokens, parents), last.unsqueeze(2)], dim=2)
    ends = last == eos
    # those that end
    ended = values[:, :beam_size].masked_fill(~ends[:, :beam_size], -math.inf)
    ending = ending.gather(1, parents[:, :beam_size])
    scores = ended / length_penalty(length) + ending
    lengths = torch.full_like(parents[:, :beam_size], length)
    pool = _merge(pool, Pool(scores, ended, ending, lengths, tokens[:, :beam_size]))
    # those that stay open
    growing, order = values.masked_fill(ends, -math.inf).sort(dim=1, descending=True, stable=True)
    growing, order = growing[:, :beam_size], order[:, :beam_size]
    first_rows = torch.arange(0, batch * width, width, device=parents.device).unsqueeze(1)
    return Open(growing, _take(tokens, order)), pool, parents.gather(1, order) + first_rows


def _merge(pool: Pool, ended: Pool) -> Pool:
    """Return the best hypotheses of the pool and of those that have just ended, which are one token longer.

    The sort is stable and the pool comes first, so that on a tie the shorter hypothesis wins.
    """
    pool = pool._replace(tokens=torch.nn.functional.pad(pool.tokens, (0, 1)))
    both = Pool(*(torch.cat(leaves, dim=1) for leaves in zip(pool, ended, strict=True)))
    scores, order = both.scores.sort(dim=1, descending=True, stable=True)
    beam_size = pool.scores.size(1)
    scores, order = scores[:, :beam_size], order[:, :beam_size]
    log_probs, coverage, lengths = (leaf.gather(1, order) for leaf in both[1:4])
    return Pool(scores, log_probs, coverage, lengths, _take(both.tokens, order))


def _take(tokens: Tensor, order: Tensor) -> Tensor:
    """Return the tokens [batch, n, steps] of the hypotheses with indices order [batch, n], given [batch, m, steps]."""
    return tokens.gather(1, order.unsqueeze(2).expand(-1, -1, tokens.size(2)))


def _answer(open_: Open, pool: Pool, row: int, n_best: int, length_penalty: LengthPenalty) -> list[Hypothesis]:
    """Return the n_best hypotheses of one sentence: finished ones, or open ones if none has finished."""
    of_pool = (pool.log_probs, pool.coverage, pool.lengths, pool.tokens)
    kept = [
        hypothesis(tokens[: length - 1], log_prob, length_penalty, finished=True, coverage=coverage)
        for log_prob, coverage, length, tokens in zip(*(leaf[row].tolist() for leaf in of_pool), strict=True)
        if log_prob != -math.inf
    ]
    if not kept:
        kept = [
            hypothesis(tokens, log_prob, length_penalty, finished=False)
            for log_prob, tokens in zip(open_.log_probs[row].tolist(), open_.tokens[row].tolist(), strict=True)
            if log_prob != -math.inf
        ]
    return sorted(kept, key=lambda found: -found.score)[:n_best]
