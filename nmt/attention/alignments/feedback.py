"""The common part of alignments whose scores depend on earlier attention weights.

In the equations s_{i-1} is the query. In Luong's model the query is h_t.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from nmt.attention.contract import Attend, Attended, SourceAttention
from nmt.attention.normalisers import Normaliser, Softmax
from nmt.attention.patterns import bias_of
from nmt.attention.precision import for_products
from nmt.attention.scores import AdditiveScore


class FeedbackAlignment(SourceAttention):
    """Soft alignment whose additive score has one more term, a function of earlier weights, inside its tanh.

    e_ij = v . tanh(W s_{i-1} + U h_j + term_ij), alpha_i = softmax(e_i), or another normaliser of e_i. The state, from
    which the term is computed, is a tensor [rows, src_len, *] in float32 or better, like the weights.
    """

    def __init__(self, score: AdditiveScore, normaliser: Normaliser | None = None) -> None:
        """Create the alignment; without a normaliser it has a softmax."""
        super().__init__()
        self.score = score
        self.normaliser = normaliser or Softmax()

    @abstractmethod
    def term(self, state: Tensor) -> Tensor:
        """Return term_ij [batch, hypotheses, src_len, attention_dim] for a state [batch, hypotheses, src_len, *]."""

    @abstractmethod
    def after(self, state: Tensor, weights: Tensor, query: Tensor, memory: Any) -> Tensor:
        """Return the state after a step with these weights [batch, hypotheses, src_len].

        query is [batch, hypotheses, query_dim], and memory is the result of `read`.
        """

    def over(self, memory: Any, *, need_weights: bool = False) -> Attend:
        keys, bias = memory.keys.unsqueeze(1), bias_of(memory.mask).unsqueeze(1)
        states = for_products(memory.states)  # once: autocast would keep a copy of the states for each step
        by_sentence = (memory.mask.size(0), -1)  # [batch, hypotheses]: the memory broadcasts and is never repeated

        def attend(x: Tensor, positions: Tensor, state: Tensor) -> Attended:
            state = state.unflatten(0, by_sentence)  # [batch, hypotheses, src_len, *]
            contexts, weights = [], []
            for query in x.unflatten(0, by_sentence).unbind(2):  # [batch, hypotheses, query_dim]
                # scores e_ij and weights alpha_ij
                projected = self.score.query_projection(query).unsqueeze(2)
                energy = torch.tanh(projected + keys + self.term(state))
                alpha = self.normaliser(self.score.v(energy).squeeze(3), bias)  # [batch, hypotheses, src_len]
                # context c_i and the next state
                contexts.append(self.normaliser.of_context(alpha.to(states.dtype) @ states).flatten(0, 1))
                state = self.after(state, alpha, query, memory)
                weights.append(alpha.flatten(0, 1))
            return Attended(torch.stack(contexts, dim=1), torch.stack(weights, dim=1).unsqueeze(1), state.flatten(0, 1))

        return attend
