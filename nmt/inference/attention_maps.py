"""The attention of every layer and head of a translator's model, as arrays and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nmt.data.alignments import Link
from nmt.data.tags import Tags
from nmt.errors import NmtError, UsageError
from nmt.inference.texts import beside
from nmt.inference.translated_attention import translated_pieces
from nmt.inference.word_attention import PieceAttention, Select, Selection, every_head, on_words, piece_attention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nmt.inference.translator import Translator
    from nmt.models.seq2seq import Seq2Seq

Unit = Literal["words", "pieces"]
_UNITS = ("words", "pieces")


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention weights of one sentence pair: for every layer and head, a row over the source per target position.

    A position is a word or a piece (token); the last one on either side is the end of sentence. A notebook displays the
    object as the picture that `draw` makes.
    """

    source: list[str]  # words or pieces
    target: list[str]  # words or pieces
    weights: NDArray[np.float32] = field(repr=False)  # [layers, heads, target, source]; mostly, rows sum to one
    text: str  # the target line

    def mean(
        self, layer: int | Literal["mean"] | None = None, head: int | Literal["mean"] = "mean"
    ) -> NDArray[np.float32]:
        """Return the weights [target, source] of one layer and head, or their average.

        layer and head are counted from 1; "mean" averages over them. layer=None means the last layer but one, which
        aligns best (Garg et al. 2019).
        """
        return Selection(layer, head)(self.weights)

    def draw(
        self, layer: int | Literal["mean"] | None = None, head: int | Literal["mean"] = "mean", title: str | None = None
    ) -> Figure:
        """Draw the weights that `mean` returns as a heatmap, with the source along the top."""
        from nmt.pictures.heatmap import heatmap

        return heatmap(self.mean(layer, head), self.source, self.target, title)

    def _repr_png_(self) -> bytes:
        """Return the picture as PNG; IPython calls this method to display the object."""
        from nmt.pictures.heatmap import to_png

        return to_png(self.draw(), dpi=110)


def attention_of(
    translator: Translator, lines: Sequence[str], targets: str | Sequence[str] | None, by: Unit, tags: Tags
) -> list[Attention]:
    """Return the attention of every layer and head for each line; see `Translator.attention`."""
    if by not in _UNITS:
        raise UsageError(f"by must be {' or '.join(map(repr, _UNITS))}, not {by!r}")
    tokenizer, found = translator.tokenizer, []
    for pieces, tag in _read(translator, lines, targets, every_head, tags):
        source, target = pieces.source, pieces.target
        if by == "pieces":
            labels, weights = (tokenizer.source_pieces(source.ids), tokenizer.target_pieces(target.ids)), pieces.weights
        else:
            words = on_words(pieces, translator.languages_of(tag))
            labels, weights = words.labels, words.weights
        found.append(Attention(*labels, weights, target.text))
    return found


def links_of(
    translator: Translator,
    lines: Sequence[str],
    targets: str | Sequence[str] | None,
    selection: Selection,
    tags: Tags,
) -> list[list[Link]]:
    """Return the links between the words of each line and its target; see `Translator.align`."""
    read = _read(translator, lines, targets, selection, tags)
    return [on_words(pieces, translator.languages_of(tag)).links for pieces, tag in read]


def _read(
    translator: Translator, lines: Sequence[str], targets: str | Sequence[str] | None, selection: Select, tags: Tags
) -> list[tuple[PieceAttention, str | None]]:
    """Return the attention between the pieces of each line and its target, and the line's tag.

    If targets is None, the target is the translation.
    """
    model, tokenizer, each = _model(translator), translator.tokenizer, translator.tags_of(lines, tags)
    if targets is None:
        found = translated_pieces(model, tokenizer, translator.nbest(lines, tags=tags), selection, each)
    else:
        found = piece_attention(model, tokenizer, lines, beside(targets, lines, "target"), selection, each)
    return list(zip(found, each, strict=True))


def _model(translator: Translator) -> Seq2Seq:
    """Return the translator's model, or raise NmtError if its attention cannot be read."""
    from nmt.inference.engines.native import NativeEngine
    from nmt.models.seq2seq import Seq2Seq

    if not isinstance(translator.engine, NativeEngine):
        raise UsageError('this engine can only search for translations: use engine="native" to read the attention')
    if not isinstance(translator.engine.model, Seq2Seq):
        raise UsageError("an ensemble has no attention of its own: load one of its runs alone")
    if not translator.engine.model.attends:
        raise NmtError("this model has no attention: it reads the source as one fixed vector")
    return translator.engine.model
