"""Alignments: which source states a query may weigh, and how scores become weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.score import Score
from nmt.attention.shared import Shared

# query [rows, queries, dim] -> contexts [rows, queries, states_dim] and weights [rows, queries, src_len];
# rows is a multiple of the memory's rows
Attend = Callable[[Tensor], tuple[Tensor, Tensor]]


class AttentionMemory(NamedTuple):
    """What attention keeps of a source sentence, one row each."""

    keys: Tensor  # [batch, src_len, key_dim], projected once
    states: Tensor  # [batch, src_len, dim], what contexts are made of
    mask: Tensor  # [batch, src_len] bool, True = may attend


class SoftAlignment(nn.Module):
    """Every source state takes part with its softmax weight (Bahdanau et al. 2015, eqs. 5-6)."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def read(self, states: Tensor, mask: Tensor) -> AttentionMemory:
        """Project the states [batch, src_len, dim] once a sentence."""
        return AttentionMemory(self.score.keys(states), states, mask)

    def over(self, memory: AttentionMemory) -> Attend:
        """The attention over this memory for one time loop, where its gradients are made in one go."""
        penalty = torch.zeros_like(memory.mask, dtype=memory.keys.dtype).masked_fill_(~memory.mask, float("-inf"))
        compare = self.score.against(memory.keys, penalty.unsqueeze(1))
        weigh = Shared(memory.states.mT)

        def attend(query: Tensor) -> tuple[Tensor, Tensor]:
            rows, queries, dim = query.shape
            # the hypotheses of a sentence become further queries to it, so that the memory is never repeated
            scores = compare(query.reshape(memory.mask.size(0), -1, dim))
            weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float))
            return weigh(weights).reshape(rows, queries, -1), weights.reshape(rows, queries, -1)

        return attend
