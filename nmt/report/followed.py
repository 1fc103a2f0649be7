"""Draw attention that is followed through the layers of an encoder, down to the source (Abnar and Zuidema 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nmt.errors import NmtError
from nmt.inference.rollout import How, through_layers
from nmt.inference.word_attention import Selection, on_words, piece_attention
from nmt.models.halting import Halting
from nmt.models.transformer import TransformerEncoder
from nmt.pictures.heatmap import Panel
from nmt.report.attention import Picture

if TYPE_CHECKING:
    from nmt.data.tokenizer import Tokenizer
    from nmt.models.seq2seq import Seq2Seq


def followed(
    name: str,
    model: Seq2Seq,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[int, str, str]],
    how: How,
    layer: int | str | None = None,
    languages: Sequence[str] | None = None,
    tags: Sequence[str | None] | None = None,
) -> list[Picture]:
    """Return a picture of each pair's source, by rollout or flow; the arguments are those of `pictures`.

    `layer` is the number, from 1, of the layer from which attention is followed, None for the last, or "all".
    `languages` are those of the sources.
    """
    if isinstance(model.encoder, TransformerEncoder) and isinstance(model.encoder.halting, Halting):
        raise NmtError(
            "attention cannot be followed through the layers of an encoder whose positions leave them at different "
            "layers (model.halting.encoder): draw the weights themselves (--map weights)"
        )
    sources, targets = [source for _, source, _ in pairs], [target for _, _, target in pairs]
    drawn = []
    found = piece_attention(model, tokenizer, sources, targets, lambda weights: weights, tags, "encoder")
    for each, (line, _, _), language in zip(found, pairs, languages or [""] * len(found), strict=True):
        count = len(each.weights)
        groups, _ = Selection(count if layer is None else layer).groups(range(count), 1)
        layers = [first for first, *_ in groups]
        maps = through_layers(how, each.weights, layers)
        words = on_words(each._replace(weights=maps), (language, language), punctuation_apart=True)
        named = ["layer 1" if last == 0 else f"layers 1 to {last + 1}" for last in layers]
        title = f"{name}, sentence {line:,}: attention {how} in the encoder"
        if len(layers) == 1:
            title, named = f"{title}, {named[0]}", [""]
        panels = [[Panel(*panel)] for panel in zip(named, words.weights, strict=True)]
        part = f"layer{layers[0] + 1}" if len(layers) == 1 else "layers-all"
        stem = f"{name}-sentence{line}-encoder-{how}-{part}"
        drawn.append(Picture(stem, title, panels, *words.labels))
    return drawn
