"""Models whose linear maps have weights of fewer bits than those they were trained with, for searching on a CPU."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nmt.attention.multihead import CrossAttention, SelfAttention
from nmt.engines.fp16 import HalfLinear
from nmt.engines.int8 import Int8Linear
from nmt.errors import NmtError
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import FeedForward

_ROUNDED = {"fp16": HalfLinear.of, "int8": Int8Linear.of}


def round_weights(model: nn.Module, precision: Literal["fp16", "int8"]) -> None:
    """Replace, for good, the linear maps that take most of a search's time: the Transformer's and the vocabulary's.

    Recurrent cells and scores, which read their weights themselves, stay as they are. Raises NmtError for a model that
    is not on the CPU, and for a processor that has no such products.
    """
    if (device := next(model.parameters()).device).type != "cpu":
        raise NmtError(f"{precision} is for CPUs: on {device.type} choose --precision bf16, or --device cpu")
    for module in list(model.modules()):
        if isinstance(module, Seq2Seq | FeedForward | SelfAttention | CrossAttention):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, _ROUNDED[precision](child))
