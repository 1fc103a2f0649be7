"""The memory of a source sentence that alignments share, and the function that makes an alignment by its name."""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor

from nmt.attention.contract import Encoded, SourceAttention
from nmt.attention.naming import make_by_name
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class AlignmentMemory(NamedTuple):
    """A batch of source sentences as alignments read them, one row for each sentence."""

    keys: Tensor  # [batch, src_len, key_dim], projected once
    states: Tensor  # [batch, src_len, states_dim], what contexts are made of
    mask: Tensor  # [batch, src_len] bool, True = may attend


class ScoredAlignment(SourceAttention):
    """An alignment that keeps what its score makes of the source states, and the states."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def read(self, encoded: Encoded) -> AlignmentMemory:
        return AlignmentMemory(self.score.keys(encoded.states), encoded.states, encoded.mask)


def make_alignment(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SourceAttention:
    """Return the alignment that `model.alignment` names, from the file of that name beside this one."""
    return cast(SourceAttention, make_by_name("alignments", config.alignment, config, score, states_dim))
