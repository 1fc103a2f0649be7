"""The attention of every layer and head of a translator's model, as numbers and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nmt.data.tags import Tags
from nmt.errors import NmtError, UsageError
from nmt.inference.texts import beside
from nmt.inference.translated_attention import translated_pieces
from nmt.inference.word_attention import Link, PieceAttention, Select, Selection, every_head, on_words, piece_attention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nmt.inference.translator import Translator
    from nmt.models.seq2seq import Seq2Seq

Unit = Literal["words", "pieces"]
_UNITS = ("words", "pieces")


@dataclass(frozen=True, eq=False)
class Attention:
    """What each target word, or piece, attends to: a row of weights over the source for every layer and head.

    The last word or piece on either side is the end of sentence. A notebook shows the picture that `draw` makes.
    """

    source: list[str]  # words or pieces
    target: list[str]
    weights: NDArray[np.float32] = field(repr=False)  # [layers, heads, target, source]; each row sums to one
    text: str  # the target line

    def mean(
        self, layer: int | Literal["mean"] | None = None, head: int | Literal["mean"] = "mean"
    ) -> NDArray[np.float32]:
        """Return the weights [target, source] of a layer and a head, counted from 1; "mean" is their average.

        None is the last layer but one, which aligns best (Garg et al. 2019).
        """
        return Selection(layer, head)(self.weights)

    def draw(
        self,
        layer: int | Literal["mean"] | None = None,
        head: int | Literal["mean"] = "mean",
        title: str | None = None,
    ) -> Figure:
        """Draw the weights that `mean` gives as a heatmap, the source along the top."""
        from nmt.pictures.heatmap import heatmap

        return heatmap(self.mean(layer, head), self.source, self.target, title)

    def _repr_png_(self) -> bytes:
        """The picture, for a notebook."""
        from nmt.pictures.heatmap import to_png

        return to_png(self.draw(), dpi=110)


def attention_of(
    translator: Translator, lines: Sequence[str], targets: str | Sequence[str] | None, by: Unit, tags: Tags
) -> list[Attention]:
    """The attention of every layer and head; see `Translator.attention`."""
    if by not in _UNITS:
        raise UsageError(f"by={by!r} is neither of {' and '.join(_UNITS)}")
    tokenizer = translator.tokenizer
    found = []
    for source, target, pieces in _read(translator, lines, targets, every_head, tags):
        if by == "pieces":
            labels = tokenizer.source_pieces(pieces.source_ids), tokenizer.target_pieces(pieces.target_ids)
            found.append(Attention(*labels, pieces.weights, target))
        else:
            words = on_words(pieces, source, target, (translator.language, translator.target_language))
            found.append(Attention(*words.labels, words.weights, target))
    return found


def links_of(
    translator: Translator,
    lines: Sequence[str],
    targets: str | Sequence[str] | None,
    layer: int | Literal["mean"] | None,
    head: int | Literal["mean"],
    tags: Tags,
) -> list[list[Link]]:
    """The links between words; see `Translator.align`."""
    languages = (translator.language, translator.target_language)
    found = _read(translator, lines, targets, Selection(layer, head), tags)
    return [on_words(pieces, source, target, languages).links for source, target, pieces in found]


def _read(
    translator: Translator,
    lines: Sequence[str],
    targets: str | Sequence[str] | None,
    selection: Select,
    tags: Tags,
) -> list[tuple[str, str, PieceAttention]]:
    """Each line, its target line and the attention between their pieces; both are empty for what is not translated."""
    model, tokenizer = _model(translator), translator.tokenizer
    each = translator.tags_of(lines, tags)
    if targets is not None:
        given = beside(targets, lines, "target")
        return list(zip(lines, given, piece_attention(model, tokenizer, lines, given, selection, each), strict=True))
    translations = translator.nbest(lines, tags=tags)
    shown = translated_pieces(model, tokenizer, translations, selection, each)
    said = [(one.source, one.text) if one.hypotheses[0].segments else ("", "") for one in translations]
    return [(*texts, pieces) for texts, pieces in zip(said, shown, strict=True)]


def _model(translator: Translator) -> Seq2Seq:
    """The model of the native engine, which shows its attention; raises NmtError where there is none."""
    from nmt.inference.engines.native import NativeEngine
    from nmt.models.seq2seq import Seq2Seq

    if not isinstance(translator.engine, NativeEngine):
        raise UsageError('this engine only searches: attention is read from the native one (engine="native")')
    if not isinstance(translator.engine.model, Seq2Seq):
        raise UsageError("an ensemble has no attention of its own: load one of its runs alone")
    if not translator.engine.model.attends:
        raise NmtError("this model has no attention: it reads the source as one fixed vector")
    return translator.engine.model
