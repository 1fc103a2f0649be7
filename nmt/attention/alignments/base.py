"""What alignments share: their memory of a source sentence, and how one is made by its name."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, cast

from torch import Tensor

from nmt.attention.contract import SourceAttention
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig


class AlignmentMemory(NamedTuple):
    """What an alignment keeps of a source sentence."""

    keys: Tensor  # [batch, src_len, key_dim], projected once
    states: Tensor  # [batch, src_len, states_dim], what contexts are made of
    mask: Tensor  # [batch, src_len] bool, True = may attend


def make_alignment(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> SourceAttention:
    """Return the alignment that `model.alignment` names, from the file of that name beside this one."""
    module = import_module(f"nmt.attention.alignments.{config.alignment}")
    return cast(SourceAttention, module.make(config, score, states_dim))
