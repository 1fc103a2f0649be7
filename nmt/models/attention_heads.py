"""The heads of all attentions of a Transformer: finding them, and removing some of them from its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from nmt.attention.heads import Heads
from nmt.config.heads import Head
from nmt.config.mechanisms import Place
from nmt.models.contract import AttentionKind
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import TransformerDecoder, TransformerEncoder

_OF_HEADS = ("qkv_projection", "query_projection", "kv_projection")  # projections whose rows belong to heads


def heads_of(model: Seq2Seq) -> dict[Place, Heads]:
    """Return the heads of each attention that is divided among heads; of a recurrent model, none."""
    names = []
    if isinstance(model.encoder, TransformerEncoder):
        names += [Place("encoder_self", layer) for layer in range(len(model.encoder.layers))]
    if isinstance(model.decoder, TransformerDecoder):
        layers = range(len(model.decoder.layers))
        names += [Place("decoder_self", layer) for layer in layers] + [
            Place("decoder_cross", layer) for layer in layers
        ]
    found = {place: getattr(model.get_submodule(module_of(place)), "heads", None) for place in names}
    return {place: heads for place, heads in found.items() if isinstance(heads, Heads)}


def removed_of(model: Seq2Seq, kind: AttentionKind) -> set[tuple[int, int]]:
    """Return the layers and numbers, from 0, of the heads that have been removed from one kind of attention."""
    key = {"cross": "decoder_cross", "encoder": "encoder_self", "decoder": "decoder_self"}[kind]
    places = heads_of(model).items()
    return {(place.layer, number) for place, heads in places if place.key == key for number in heads.removed}


def module_of(place: Place) -> str:
    """Return the name of the module that is the attention of this place, such as decoder.layers.0.cross_attention."""
    side, part = place.key.split("_")
    return f"{side}.layers.{place.layer}.{'cross_attention' if part == 'cross' else 'mixer'}"


def without_heads(model: Seq2Seq, weights: Mapping[str, Tensor], removed: Collection[Head]) -> dict[str, Tensor]:
    """Return weights of the model by name without the rows and columns of the heads in `removed`.

    What belongs to no head stays the same tensor, so that tied weights stay tied. The weights may also be others of the
    same shapes, such as the optimizer's moments, and some may be missing.
    """
    left = dict(weights)
    for place, heads in heads_of(model).items():
        kept = [index for index, number in enumerate(heads.numbers) if Head(place, number) not in removed]
        if len(kept) == heads.num_heads:
            continue
        module = module_of(place)
        for name in (f"{module}.{projection}.{kind}" for projection in _OF_HEADS for kind in ("weight", "bias")):
            if name in left:
                left[name] = _selected(left[name], 0, kept, heads)
        name = f"{module}.output_projection.weight"
        if name in left:
            left[name] = _selected(left[name], 1, kept, heads)
    return left


def _selected(weight: Tensor, axis: int, kept: Sequence[int], heads: Heads) -> Tensor:
    """Return only the features of the heads in `kept` along an axis that has [parts, heads, head_dim] features."""
    parts = weight.unflatten(axis, (-1, heads.num_heads, heads.head_dim))
    selected: Tensor = parts.index_select(axis + 1, torch.tensor(kept, device=weight.device))
    return selected.flatten(axis, axis + 2)
