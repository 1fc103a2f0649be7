"""Batched beam search, a pure function over a step, a memory and a state: it never asks which decoder it drives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.models.seq2seq import Memory, State, Step, select
from nmt.search import penalties
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.steps import Remaining, top_candidates


class Open(NamedTuple):
    """The hypotheses that may still grow, best first; a place at minus infinity is empty."""

    log_probs: Tensor  # [batch, beam]
    tokens: Tensor  # [batch, beam, steps]


class Pool(NamedTuple):
    """The best finished hypotheses of each sentence, best first; a place at minus infinity is empty."""

    scores: Tensor  # [batch, beam], log_probs over the length penalty
    log_probs: Tensor  # [batch, beam], end of sentence included
    lengths: Tensor  # [batch, beam], end of sentence included
    tokens: Tensor  # [batch, beam, steps]


def beam_search(
    step: Step,
    memory: Memory,
    state: State,
    *,
    bos: int,
    eos: int,
    beam_size: int,
    max_lengths: Tensor,
    length_penalty: float = 0.0,
    n_best: int = 1,
    banned: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Up to n_best hypotheses of each sentence, best score first.

    memory and state have one row a sentence, and max_lengths [batch] says how many tokens, with the end of sentence,
    each may have (at least 1). At every step the candidates of a sentence are its open hypotheses times the
    vocabulary. Of the best beam_size those that end with `eos` are finished; the best beam_size of all the others stay
    open, so that finishing takes no place from what may still grow. Equals go to the earlier hypothesis, then to the
    lower token id.

    A sentence leaves the batch once no open hypothesis can reach a better score than the last of its n_best finished
    ones (`settled`), so a beam that holds every hypothesis finds what exhaustive search finds. One that reaches its
    longest length with nothing finished answers with its best open hypotheses, marked as not finished.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best={n_best} is not from 1 to beam_size={beam_size}")
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths)
    never = torch.tensor(banned, dtype=torch.long, device=max_lengths.device)
    open_, pool = _start(max_lengths.size(0), beam_size, max_lengths.device)
    last = torch.full_like(max_lengths, bos)  # [rows]
    for length in range(1, remaining.longest + 1):
        log_probs, state = step(last, memory, state)
        candidates = _candidates(open_, log_probs, never)
        open_, pool, parents = _advance(open_, pool, candidates, eos, length, length_penalty)
        if remaining.look_now(length):
            leaving = settled(open_, pool, max_lengths, length_penalty, n_best) | (max_lengths <= length)
            left, stay = remaining.leave(leaving)
            for row, sentence in left:
                found[sentence] = _answer(open_, pool, row, n_best, length_penalty)
            if not remaining.sentences:
                break
            if stay is not None:
                memory = select(memory, stay)
                open_, pool, parents, max_lengths = select((open_, pool, parents, max_lengths), stay)
        state = select(state, parents.flatten())
        last = open_.tokens[:, :, -1].flatten()
    return [found[sentence] for sentence in range(len(found))]


def settled(open_: Open, pool: Pool, max_lengths: Tensor, alpha: float, n_best: int) -> Tensor:
    """Which sentences [batch] cannot improve: the last of n_best finished against a bound on the open hypotheses.

    A log-probability is never positive and only falls as a hypothesis grows, while the penalty that divides it only
    rises: nothing that comes of an open hypothesis scores above its present log-probability over the longest penalty.
    """
    bound = open_.log_probs.amax(dim=1) / penalties.length_penalty(max_lengths, alpha)
    return pool.scores[:, n_best - 1] >= bound


def _start(batch: int, beam_size: int, device: torch.device) -> tuple[Open, Pool]:
    """One open hypothesis a sentence, the empty prefix, and empty pools."""
    tokens = torch.empty(batch, beam_size, 0, dtype=torch.long, device=device)
    lengths = torch.zeros(batch, beam_size, dtype=torch.long, device=device)
    empty = torch.full((batch, beam_size), -math.inf, device=device)
    return Open(torch.zeros(batch, 1, device=device), tokens[:, :1]), Pool(empty, empty, lengths, tokens)


def _candidates(open_: Open, log_probs: Tensor, never: Tensor) -> Tensor:
    """Every open hypothesis with every next token, [batch, beam, vocab], given the step's log_probs [rows, vocab]."""
    batch, beam = open_.log_probs.shape
    candidates = open_.log_probs.unsqueeze(2) + log_probs.view(batch, beam, -1)
    return candidates.index_fill_(2, never, -math.inf)


def _advance(
    open_: Open, pool: Pool, candidates: Tensor, eos: int, length: int, alpha: float
) -> tuple[Open, Pool, Tensor]:
    """The open hypotheses after one more token, the pool with those that ended, and where the open ones come from.

    The last, [batch, beam], holds rows of the state.
    """
    batch, width, vocab = candidates.shape
    beam_size = pool.scores.size(1)
    # Each open hypothesis can end in one way only, so among twice beam_size there are beam_size that go on.
    values, indices = top_candidates(candidates.view(batch, width * vocab), min(2 * beam_size, width * vocab))
    parents = indices.div(vocab, rounding_mode="floor")
    last = indices % vocab
    tokens = torch.cat([_take(open_.tokens, parents), last.unsqueeze(2)], dim=2)
    ends = last == eos

    ended = values[:, :beam_size].masked_fill(~ends[:, :beam_size], -math.inf)
    pool = _merge(pool, ended, tokens[:, :beam_size], length, alpha)
    growing, order = values.masked_fill(ends, -math.inf).sort(dim=1, descending=True, stable=True)
    growing, order = growing[:, :beam_size], order[:, :beam_size]
    first_rows = torch.arange(0, batch * width, width, device=parents.device).unsqueeze(1)
    return Open(growing, _take(tokens, order)), pool, parents.gather(1, order) + first_rows


def _merge(pool: Pool, ended: Tensor, tokens: Tensor, length: int, alpha: float) -> Pool:
    """The best of the pool and of those that just ended: log-probabilities [batch, n], tokens [batch, n, steps].

    The sort is stable and the pool comes first: of equals the shorter stays ahead.
    """
    scores = torch.cat([pool.scores, ended / penalties.length_penalty(length, alpha)], dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, : pool.scores.size(1)], order[:, : pool.scores.size(1)]
    log_probs = torch.cat([pool.log_probs, ended], dim=1)
    lengths = torch.cat([pool.lengths, torch.full_like(ended, length, dtype=torch.long)], dim=1)
    all_tokens = torch.cat([torch.nn.functional.pad(pool.tokens, (0, 1)), tokens], dim=1)
    return Pool(scores, log_probs.gather(1, order), lengths.gather(1, order), _take(all_tokens, order))


def _take(tokens: Tensor, order: Tensor) -> Tensor:
    """The hypotheses order [batch, n] of each sentence's tokens [batch, m, steps]."""
    return tokens.gather(1, order.unsqueeze(2).expand(-1, -1, tokens.size(2)))


def _answer(open_: Open, pool: Pool, row: int, n_best: int, alpha: float) -> list[Hypothesis]:
    """The n_best hypotheses of one sentence: the finished ones or, where there is none, open ones."""
    finished = zip(pool.log_probs[row].tolist(), pool.lengths[row].tolist(), pool.tokens[row].tolist(), strict=True)
    kept = [
        hypothesis(tokens[: length - 1], log_prob, alpha, finished=True)
        for log_prob, length, tokens in finished
        if log_prob != -math.inf
    ]
    if not kept:
        unfinished = zip(open_.log_probs[row].tolist(), open_.tokens[row].tolist(), strict=True)
        kept = [
            hypothesis(tokens, log_prob, alpha, finished=False)
            for log_prob, tokens in unfinished
            if log_prob != -math.inf
        ]
    return sorted(kept, key=lambda found: -found.score)[:n_best]
