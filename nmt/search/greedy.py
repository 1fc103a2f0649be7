"""Greedy search, which takes the most probable token at each step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmt.models.contract import Memory, SearchState, Step, select
from nmt.search.constraints import Constraints
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.steps import Remaining


def greedy_search(
    step: Step,
    memory: Memory,
    state: SearchState,
    *,
    bos: int,
    max_lengths: Tensor,
    constraints: Constraints,
    length_penalty: LengthPenalty = LengthPenalty(),  # noqa: B008 (a constant)
    coverage: Callable[[SearchState], Tensor] | None = None,
) -> list[list[Hypothesis]]:
    """Return one hypothesis for each sentence, made of the most probable token at each step (on a tie the lower id).

    memory and state have one row per sentence. max_lengths [batch], each at least 1, are the maximum numbers of tokens,
    including the end of sentence. The length penalty and `coverage` (see `beam_search`) affect only the reported score.
    """
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths)
    eos = constraints.eos
    last = torch.full_like(max_lengths, bos)  # [rows]
    tokens = last.new_empty(last.size(0), 0)  # [rows, steps]
    log_prob = torch.zeros(last.size(0), device=last.device)
    covered = torch.zeros_like(log_prob)  # the coverage penalty
    done = torch.zeros_like(last, dtype=torch.bool)  # the end of sentence has been generated
    for length in range(1, remaining.longest + 1):
        # one step of the model
        log_probs, state = step(last, memory, state)
        constraints.apply(log_probs, length)
        # the best token of each sentence
        value, best = log_probs.max(1)  # on a tie the lower token id
        if coverage is not None:
            covered = torch.where(done, covered, coverage(state))
        log_prob = log_prob + value.masked_fill(done, 0.0)
        last = best.masked_fill(done, eos)
        done = last == eos  # finished sentences stay done: they repeat the end of sentence
        tokens = torch.cat([tokens, last.unsqueeze(1)], dim=1)
        # sentences that are done leave the batch
        if not remaining.look_now(length):
            continue
        left, stay = remaining.leave(done | (max_lengths <= length))
        for row, sentence in left:
            ids = tokens[row].tolist()
            finished = eos in ids
            ids = ids[: ids.index(eos)] if finished else ids
            of_coverage = covered[row].item() if finished else 0.0
            found[sentence] = [hypothesis(ids, log_prob[row].item(), length_penalty, finished, of_coverage)]
        if not remaining.sentences:
            break
        if stay is not None:
            memory, state, constraints = select(memory, stay), select(state, stay), select(constraints, stay)
            last, tokens, log_prob, covered, done, max_lengths = select(
                (last, tokens, log_prob, covered, done, max_lengths), stay
            )
    return [found[sentence] for sentence in range(len(found))]
