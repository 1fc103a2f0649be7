"""What a validation shows of a few sentences: maps of their attention, what each head does, and the layers used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from nmt.data.batch import collate
from nmt.data.store import Store
from nmt.data.tokenizer import Tokenizer
from nmt.evaluation.heads import HeadMeasures, HeadMeter
from nmt.models.attention_heads import heads_of
from nmt.models.seq2seq import Seq2Seq


@dataclass(frozen=True)
class AttentionMap:
    """The cross-attention weights of one sentence pair, averaged over layers and heads."""

    weights: NDArray[np.float32]  # [tgt_len, src_len]
    source_tokens: list[str]
    target_tokens: list[str]


@dataclass(frozen=True)
class ShownAttention:
    """The attention of a model in a few sentences, with their references as targets (teacher forcing)."""

    maps: list[AttentionMap] = field(default_factory=list)  # empty for a model without attention
    heads: list[HeadMeasures] = field(default_factory=list)  # entropy and distance; empty for a model without heads
    # by stack (encoder, decoder) with halting, the mean number of layers that a token goes through
    depths: dict[str, float] = field(default_factory=dict)


def shown_attention(
    model: Seq2Seq, tokenizer: Tokenizer, store: Store, rows: Sequence[int], device: torch.device
) -> ShownAttention:
    """Return the attention in the stored sentence pairs of some rows; `model` is in evaluation mode."""
    maps: list[AttentionMap] = []
    meter = HeadMeter(model) if heads_of(model) else None
    used: dict[str, list[float]] = {}
    for row in rows if model.attends else []:
        source, target = store.source(row), store.target(row)
        batch = collate([source], [target]).to(device)
        weights = model.attention(batch.src, batch.src_mask, batch.tgt_in)[0]  # [layers, heads, tgt_len, src_len]
        tokens = tokenizer.source_pieces(source.tolist()), tokenizer.target_pieces(target.tolist())
        maps.append(AttentionMap(weights.float().mean((0, 1)).cpu().numpy(), *tokens))
        if meter is not None:
            meter.add(batch)
        for stack, depth in model.depths(batch.src, batch.src_mask, batch.tgt_in).items():
            used.setdefault(stack, []).extend(depth.flatten().tolist())
    depths = {stack: sum(numbers) / len(numbers) for stack, numbers in used.items()}
    return ShownAttention(maps, meter.measures() if meter is not None else [], depths)
