"""Coverage of the source in a search: how much attention each source token has received (Wu et al. 2016, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.models.contract import Memory, SearchState, Step
from nmt.search.penalties import coverage_penalty

# (token ids [rows], memory, state) -> log_probs [rows, vocab], attention weights [rows, src_len] and the next state
WeightedStep = Callable[[Tensor, Memory, SearchState], tuple[Tensor, Tensor, SearchState]]


class CoveredState(NamedTuple):
    """A decoder's state, with the attention that its hypothesis has paid to each source token so far."""

    state: SearchState
    coverage: Tensor  # [rows, src_len]
    mask: Tensor  # [rows, src_len] bool, True = a source token


def covering(step: WeightedStep, beta: float) -> tuple[Step, Callable[[CoveredState], Tensor]]:
    """Return a step that keeps coverage in its state, and a function that returns a state's penalty [rows]."""

    def covering_step(tokens: Tensor, memory: Memory, state: CoveredState) -> tuple[Tensor, CoveredState]:
        log_probs, weights, inner = step(tokens, memory, state.state)
        return log_probs, CoveredState(inner, state.coverage + weights, state.mask)

    def penalty(state: CoveredState) -> Tensor:
        return coverage_penalty(state.coverage, state.mask, beta)

    return covering_step, penalty


def uncovered(state: SearchState, mask: Tensor) -> CoveredState:
    """Return the state before the first token: `state` with a coverage of zero."""
    return CoveredState(state, torch.zeros_like(mask, dtype=torch.float32), mask)
