"""Greedy search of one sentence: by guesses, where something drafts, of which the model says how far it agrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from nmt.models.seq2seq import Memory, State, Step, rewind
from nmt.search.constraints import Constraints
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.steps import best_token

GUESSES = 4  # at once: a fifth is seldom reached


class Drafter(Protocol):
    """What guesses how the translation of a sentence goes on, which only grows."""

    def guess(self, said: Sequence[int], count: int) -> list[int]:
        """Up to `count` tokens that may follow those said so far, the end of sentence being the last of any."""
        ...


def single_search(
    steps: Step,
    memory: Memory,
    state: State,
    *,
    bos: int,
    max_lengths: Tensor,
    constraints: Constraints,
    length_penalty: LengthPenalty = LengthPenalty(),  # noqa: B008 (a constant)
    drafter: Drafter | None = None,
) -> list[list[Hypothesis]]:
    """What `greedy_search` finds for a batch of one sentence, but for rounding, with fewer operations a step.

    steps takes tokens [1, count] and answers [1, count, vocab]: what must be said is one step. With a drafter this is
    speculative decoding (Leviathan et al. 2023), where the tokens that are drafted need no model: as long as the
    model's best token is the one that was guessed, the answer to the next guess is already there. For that the state
    must be one that can go back (`nmt.models.seq2seq.rewind`).
    """
    longest = int(max_lengths[0])
    demanded = constraints.demanded(0)
    said: list[int] = []
    log_prob = 0.0
    given = torch.tensor([[bos]], device=max_lengths.device)
    while len(said) < longest and constraints.eos not in said[-1:]:
        guessed = demanded[len(said) :]
        if drafter is not None:
            guessed += drafter.guess([*said, *guessed], GUESSES)
        guessed = guessed[: longest - len(said) - 1]
        if guessed:
            given = torch.tensor([[said[-1] if said else bos, *guessed]], device=max_lengths.device)
        log_probs, state = steps(given, memory, state)
        of_places = log_probs[0]
        values, best = best_token(of_places)
        tokens = best.tolist()
        if not all(constraints.allow(token, length) for length, token in enumerate(tokens, start=len(said) + 1)):
            for length, of_place in enumerate(of_places.split(1), start=len(said) + 1):
                constraints.apply(of_place, length)
            values, best = best_token(of_places)
            tokens = best.tolist()
        agreed = next((place for place, guess in enumerate(guessed) if tokens[place] != guess), len(guessed))
        found = tokens[: agreed + 1]
        if constraints.eos in found:
            found = found[: found.index(constraints.eos) + 1]
        said += found
        log_prob += sum(values.tolist()[: len(found)])
        given = best[len(found) - 1].view(1, 1)
        if agreed < len(guessed):
            state = rewind(state, len(said))
    finished = said[-1] == constraints.eos
    return [[hypothesis(said[:-1] if finished else said, log_prob, length_penalty, finished)]]
