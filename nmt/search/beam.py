"""Batched beam search, a pure function over a step, a memory and a state: it never asks which decoder it drives."""

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
    """The hypotheses that may still grow, best first; a place at minus infinity is empty."""

    log_probs: Tensor  # [batch, beam]
    tokens: Tensor  # [batch, beam, steps]


class Pool(NamedTuple):
    """The best finished hypotheses of each sentence, best first; a place at minus infinity is empty."""

    scores: Tensor  # [batch, beam], log_probs over the length penalty, plus the coverage penalty
    log_probs: Tensor  # [batch, beam], end of sentence included
    coverage: Tensor  # [batch, beam], the coverage penalty
    lengths: Tensor  # [batch, beam], end of sentence included
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
    stop: Literal["full", "exact"] = "exact",
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Up to n_best hypotheses of each sentence, best score first.

    memory and state have one row a sentence, and max_lengths [batch] says how many tokens, with the end of sentence,
    each may have (at least 1). At every step the candidates of a sentence are its open hypotheses times the
    vocabulary. Of the best beam_size those that end are finished; the best beam_size of all the others stay open, so
    that finishing takes no place from what may still grow. Equals go to the earlier hypothesis, then to the lower token
    id. `coverage` tells of a state what is added to the score of a hypothesis that ends in it, [rows], never positive.

    With stop=full a sentence leaves the batch once beam_size hypotheses have finished; with exact, once no open
    hypothesis can reach a better score than the last of its n_best finished ones (`settled`), so a beam that holds
    every hypothesis finds what exhaustive search finds, in more steps. A sentence that reaches its longest length with
    nothing finished is answered by its best open hypotheses, marked as not finished.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best={n_best} is not from 1 to beam_size={beam_size}")
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths, beam_size)
    open_, pool = _start(max_lengths.size(0), beam_size, max_lengths.device)
    last = torch.full_like(max_lengths, bos)  # [rows]
    for length in range(1, remaining.longest + 1):
        log_probs, state = step(last, memory, state)
        constraints.apply(log_probs, length)
        ending = torch.zeros_like(open_.log_probs) if coverage is None else coverage(state).view_as(open_.log_probs)
        if stop == "full":  # a pool that has become so since the last look is closed
            ending = ending.masked_fill(full(pool).unsqueeze(1), -math.inf)
        open_, pool, parents = _advance(open_, pool, log_probs, ending, constraints.eos, length, length_penalty)
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
        state = select(state, parents.flatten())
        last = open_.tokens[:, :, -1].flatten()
    return [found[sentence] for sentence in range(len(found))]


def settled(open_: Open, pool: Pool, max_lengths: Tensor, length_penalty: LengthPenalty, n_best: int) -> Tensor:
    """Which sentences [batch] cannot improve: the last of n_best finished against a bound on the open hypotheses.

    A log-probability is never positive and only falls as a hypothesis grows, while the penalty that divides it only
    rises, and no coverage penalty is positive: nothing that comes of an open hypothesis scores above its present
    log-probability over the longest penalty.
    """
    bound = open_.log_probs.amax(dim=1) / length_penalty(max_lengths)
    return pool.scores[:, n_best - 1] >= bound


def full(pool: Pool) -> Tensor:
    """Which sentences [batch] have as many finished hypotheses as their beam is wide."""
    return pool.scores[:, -1] > -math.inf


def _start(batch: int, beam_size: int, device: torch.device) -> tuple[Open, Pool]:
    """One open hypothesis a sentence, the empty prefix, and empty pools."""
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
    """The open hypotheses after one more token, the pool with those that ended, and where the open ones come from.

    log_probs [rows, vocab] are the step's, ending [batch, beam] what coverage adds to a hypothesis that ends now. The
    last of the answers, [batch, beam], holds rows of the state.
    """
    batch, width = open_.log_probs.shape
    vocab, beam_size = log_probs.size(1), pool.scores.size(1)
    # Each open hypothesis can end in one way only, so among twice beam_size there are beam_size that go on.
    sums = open_.log_probs.unsqueeze(2) + log_probs.view(batch, width, vocab)
    values, indices = top_candidates(sums.flatten(1), min(2 * beam_size, width * vocab))
    parents = indices.div(vocab, rounding_mode="floor")
    last = indices % vocab
    tokens = torch.cat([_take(open_.tokens, parents), last.unsqueeze(2)], dim=2)
    ends = last == eos

    ended = values[:, :beam_size].masked_fill(~ends[:, :beam_size], -math.inf)
    ending = ending.gather(1, parents[:, :beam_size])
    scores = ended / length_penalty(length) + ending
    lengths = torch.full_like(parents[:, :beam_size], length)
    pool = _merge(pool, Pool(scores, ended, ending, lengths, tokens[:, :beam_size]))
    growing, order = values.masked_fill(ends, -math.inf).sort(dim=1, descending=True, stable=True)
    growing, order = growing[:, :beam_size], order[:, :beam_size]
    first_rows = torch.arange(0, batch * width, width, device=parents.device).unsqueeze(1)
    return Open(growing, _take(tokens, order)), pool, parents.gather(1, order) + first_rows


def _merge(pool: Pool, ended: Pool) -> Pool:
    """The best of the pool and of those that just ended, whose tokens are one longer.

    The sort is stable and the pool comes first: of equals the shorter stays ahead.
    """
    pool = pool._replace(tokens=torch.nn.functional.pad(pool.tokens, (0, 1)))
    both = Pool(*(torch.cat(leaves, dim=1) for leaves in zip(pool, ended, strict=True)))
    scores, order = both.scores.sort(dim=1, descending=True, stable=True)
    beam_size = pool.scores.size(1)
    scores, order = scores[:, :beam_size], order[:, :beam_size]
    log_probs, coverage, lengths = (leaf.gather(1, order) for leaf in both[1:4])
    return Pool(scores, log_probs, coverage, lengths, _take(both.tokens, order))


def _take(tokens: Tensor, order: Tensor) -> Tensor:
    """The hypotheses order [batch, n] of each sentence's tokens [batch, m, steps]."""
    return tokens.gather(1, order.unsqueeze(2).expand(-1, -1, tokens.size(2)))


def _answer(open_: Open, pool: Pool, row: int, n_best: int, length_penalty: LengthPenalty) -> list[Hypothesis]:
    """The n_best hypotheses of one sentence: the finished ones or, where there is none, open ones."""
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
