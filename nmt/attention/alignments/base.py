"""The common parts of alignments, and the function that makes the alignment that `model.alignment` names.

An alignment is the attention of a recurrent decoder (RNNsearch or Luong's model) to the states of the encoder.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, cast

from torch import Tensor

from nmt.attention.contract import Attend, Attended, Encoded, MechanismState, SourceAttention
from nmt.attention.naming import make_by_name
from nmt.attention.normalisers import Normaliser, Softmax
from nmt.attention.precision import for_products
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class AlignmentMemory(NamedTuple):
    """The encoded source as the attention of a recurrent decoder reads it, with one row per sentence."""

    keys: Tensor  # [batch, src_len, key_dim], compared with the queries by the score
    states: Tensor  # [batch, src_len, states_dim], from which the contexts are computed
    mask: Tensor  # [batch, src_len] bool, True = may attend


def read(score: Score, encoded: Encoded) -> AlignmentMemory:
    """Return the memory that consists of the score's keys and the source states."""
    return AlignmentMemory(score.keys(encoded.states), encoded.states, encoded.mask)


# (scores [batch, queries, src_len], queries [batch, queries, query_dim], their positions [batch, queries]) -> weights
# [batch, queries, src_len]
Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]


class ScoredAlignment(SourceAttention):
    """The base class of alignments whose memory consists of the score's keys and the source states."""

    def __init__(self, score: Score, normaliser: Normaliser | None = None) -> None:
        """Create the alignment; without a normaliser it has a softmax."""
        super().__init__()
        self.score = score
        self.normaliser = normaliser or Softmax()

    def read(self, encoded: Encoded) -> AlignmentMemory:
        return read(self.score, encoded)


class WeightedAlignment(ScoredAlignment):
    """The base class of alignments whose context is a sum of source states, weighted by a function of the scores."""

    @abstractmethod
    def weighing(self, memory: AlignmentMemory) -> Weigh:
        """Return the function that turns scores into weights.

        Work that is the same for all steps is done here, once.
        """

    def over(self, memory: AlignmentMemory, *, need_weights: bool = False) -> Attend:
        weigh = self.weighing(memory)
        states = for_products(memory.states)  # once: autocast would keep a copy of the states for each step
        batch = memory.mask.size(0)

        def attend(x: Tensor, positions: Tensor, state: MechanismState = None) -> Attended:
            rows, tgt_len, dim = x.shape
            # weights; the hypotheses of a sentence are treated as additional queries, so the memory is never repeated
            queries = x.reshape(batch, -1, dim)
            at = positions.expand(rows, tgt_len).reshape(batch, -1)
            weights = weigh(self.score(queries, memory.keys), queries, at)
            # contexts
            context = self.normaliser.of_context(weights.to(states.dtype) @ states)
            return Attended(context.reshape(rows, tgt_len, -1), weights.reshape(rows, 1, tgt_len, -1))

        return attend


def make_alignment(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SourceAttention:
    """Return the alignment that `model.alignment` names, made by the file of that name in this folder."""
    return cast(SourceAttention, make_by_name("alignments", config.alignment, config, score, states_dim))
