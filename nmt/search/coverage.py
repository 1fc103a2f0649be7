"""Coverage of the source during a search: what attention each of its tokens has had (Wu et al. 2016, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.models.contract import Memory, SearchState, Step
from nmt.search.penalties import coverage_penalty

WeightedStep = Callable[[Tensor, Memory, SearchState], tuple[Tensor, Tensor, SearchState]]  # log-probs, weights, state


class CoveredState(NamedTuple):
    """A decoder's state and the attention that its hypothesis has given so far."""

    state: SearchState
    coverage: Tensor  # [rows, src_len]
    mask: Tensor  # [rows, src_len] bool, True = a source token


def covering(step: WeightedStep, beta: float) -> tuple[Step, Callable[[CoveredState], Tensor]]:
    """A step that keeps coverage in its state, and the coverage penalty [rows] of such a state.

    The step's attention weights are [rows, src_len].
    """

    def covering_step(tokens: Tensor, memory: Memory, state: CoveredState) -> tuple[Tensor, CoveredState]:
        log_probs, weights, inner = step(tokens, memory, state.state)
        return log_probs, CoveredState(inner, state.coverage + weights, state.mask)

    def penalty(state: CoveredState) -> Tensor:
        return coverage_penalty(state.coverage, state.mask, beta)

    return covering_step, penalty


def uncovered(state: SearchState, mask: Tensor) -> CoveredState:
    """The state before the first token."""
    return CoveredState(state, torch.zeros_like(mask, dtype=torch.float32), mask)
