"""The common parts of alignments, and the function that makes the alignment that `model.alignment` names.

An alignment is the attention of a recurrent decoder (RNNsearch or Luong's model) to the states of the encoder.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor

from nmt.attention.contract import Encoded, SourceAttention
from nmt.attention.naming import make_by_name
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class AlignmentMemory(NamedTuple):
    """The encoded source as the attention of a recurrent decoder reads it, with one row per sentence."""

    keys: Tensor  # [batch, src_len, key_dim], compared with the queries by the score
    states: Tensor  # [batch, src_len, states_dim], from which the contexts are computed
    mask: Tensor  # [batch, src_len] bool, True = may attend


class ScoredAlignment(SourceAttention):
    """The base class of alignments whose memory consists of the score's keys and the source states."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def read(self, encoded: Encoded) -> AlignmentMemory:
        return AlignmentMemory(self.score.keys(encoded.states), encoded.states, encoded.mask)


def make_alignment(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SourceAttention:
    """Return the alignment that `model.alignment` names, made by the file of that name in this folder."""
    return cast(SourceAttention, make_by_name("alignments", config.alignment, config, score, states_dim))
