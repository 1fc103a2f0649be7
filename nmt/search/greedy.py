"""Greedy search: the most probable token at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.models.seq2seq import Memory, State, Step, select
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.steps import Remaining


def greedy_search(
    step: Step,
    memory: Memory,
    state: State,
    *,
    bos: int,
    eos: int,
    max_lengths: Tensor,
    length_penalty: float = 0.0,
    banned: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """The one hypothesis of each sentence that takes the best token at every step; equals go to the lower token id.

    memory and state have one row a sentence, and max_lengths [batch] says how many tokens, with the end of sentence,
    each may have (at least 1). The length penalty touches only the reported score.
    """
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths)
    never = torch.tensor(banned, dtype=torch.long, device=max_lengths.device)
    last = torch.full_like(max_lengths, bos)  # [rows]
    tokens = last.new_empty(last.size(0), 0)  # [rows, steps]
    log_prob = torch.zeros(last.size(0), device=last.device)
    done = torch.zeros_like(last, dtype=torch.bool)  # the end of sentence was generated
    for length in range(1, remaining.longest + 1):
        log_probs, state = step(last, memory, state)
        value, best = log_probs.index_fill(1, never, -math.inf).max(dim=1)  # of equals, the first
        log_prob = log_prob + value.masked_fill(done, 0.0)
        last = best.masked_fill(done, eos)
        done = done | (last == eos)
        tokens = torch.cat([tokens, last.unsqueeze(1)], dim=1)
        if not remaining.look_now(length):
            continue
        left, stay = remaining.leave(done | (max_lengths <= length))
        for row, sentence in left:
            ids = tokens[row].tolist()
            finished = eos in ids
            ids = ids[: ids.index(eos)] if finished else ids
            found[sentence] = [hypothesis(ids, log_prob[row].item(), length_penalty, finished)]
        if not remaining.sentences:
            break
        if stay is not None:
            memory, state = select(memory, stay), select(state, stay)
            last, tokens, log_prob, done, max_lengths = select((last, tokens, log_prob, done, max_lengths), stay)
    return [found[sentence] for sentence in range(len(found))]
