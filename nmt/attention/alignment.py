"""Alignments: which source states a query may weigh, and how scores become weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.score import Score


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

    def forward(self, query: Tensor, memory: AttentionMemory) -> tuple[Tensor, Tensor]:
        """query [rows, queries, dim] -> contexts [rows, queries, dim] and weights [rows, queries, src_len].

        rows is a multiple of the memory's rows: the hypotheses of a sentence become further queries to it, so
        that the memory is never repeated.
        """
        rows, queries, dim = query.shape
        query = query.reshape(memory.mask.size(0), -1, dim)
        scores = self.score(query, memory.keys)
        weights = torch.softmax(scores.masked_fill(~memory.mask.unsqueeze(1), float("-inf")), dim=-1)
        context = weights.to(memory.states.dtype) @ memory.states
        return context.reshape(rows, queries, -1), weights.reshape(rows, queries, -1)
