"""Word alignments read off attention: a sentence pair is forced through the decoder and its weights summed over words.

The weights of target position t are those with which the decoder predicts token t. A Transformer has them for every
layer and head; by default the heads of the penultimate layer are averaged, which align best (Garg et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nmt.data.tokenizer import BOS
from nmt.errors import NmtError, UsageError
from nmt.inference.batches import batches
from nmt.inference.words import units_of

if TYPE_CHECKING:
    from torch import Tensor

    from nmt.data.tokenizer import Span, Tokenizer
    from nmt.models.contract import AttentionKind
    from nmt.models.seq2seq import Seq2Seq

Link = tuple[int, int]  # a source word and a target word, both counted from 0
BEGIN, END = "<s>", "</s>"
_NO_ATTENTION = {
    "cross": "this model has no attention: it reads the source as one fixed vector, so there is no alignment",
    "encoder": "no layer of this model's encoder has self-attention",
    "decoder": "no layer of this model's decoder has self-attention",
}
Weights = TypeVar("Weights", "Tensor", NDArray[np.float32])
TOKENS_PER_BATCH = 4096  # padded target tokens forced through the decoder at once


@dataclass(frozen=True)
class Selection:
    """Which of several layers and heads: a number counted from 1, "mean" for their average, "all" for each of them.

    Where "all" has to become one map, as for links, it is their average, too.
    """

    layer: int | str | None = None  # None: the last layer but one
    head: int | str = "mean"

    def __call__(self, weights: Weights) -> Weights:
        """Weights [layers, heads, queries, keys] -> [queries, keys]."""
        layers: list[list[int]]
        heads: list[list[int]]
        layers, heads = self.groups(range(weights.shape[0]), weights.shape[1])
        found: Weights = weights[[*chain(*layers)]].mean(0)[[*chain(*heads)]].mean(0)
        return found

    def groups(self, layers: Sequence[int], heads: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return the layers and the heads of each map, counted from 0; a map is their average.

        `layers` are those that attend, counted from 0. Raises UsageError for a number that is not there.
        """
        layer = layers[-2:][0] + 1 if self.layer is None else self.layer
        return _groups(layer, layers, "layer"), _groups(self.head, range(heads), "head")


DEFAULT = Selection()
Select = Callable[["Tensor"], "Tensor"]  # weights [layers, heads, tgt_len, src_len] -> [..., tgt_len, src_len]


def every_head(weights: Tensor) -> Tensor:
    """Keep the weights of every layer and head."""
    return weights


@dataclass(frozen=True)
class WordAttention:
    """The attention between the words of a sentence pair; the last row and column stand for the end of sentence."""

    source_words: list[str]
    target_words: list[str]
    weights: NDArray[np.float32]  # [..., target words + 1, source words + 1]; each row sums to one

    @property
    def links(self) -> list[Link]:
        """The source word that each target word attends to most; every target word has one (none without a source).

        For the weights [target words + 1, source words + 1] of one selection.
        """
        between = self.weights[:-1, :-1]
        if not between.size:
            return []
        return sorted((int(source), target) for target, source in enumerate(between.argmax(1)))

    @property
    def labels(self) -> tuple[list[str], list[str]]:
        """What to write beside the weights: source and target words, then the end of sentence."""
        return [*self.source_words, END], [*self.target_words, END]


class Side(NamedTuple):
    """One line of a sentence pair as the model reads it: its ids, and where in the line the piece of each stands.

    A span of None is for what is no text and counts as the end of sentence: that itself, and a tag before the source.
    """

    text: str
    ids: list[int]
    spans: list[Span | None]


class PieceAttention(NamedTuple):
    """The attention between the pieces of two lines; in self-attention both sides are those of one line."""

    weights: NDArray[np.float32]  # [..., target pieces, source pieces]; each row sums to one
    source: Side
    target: Side


def word_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    languages: tuple[str, str] = ("", ""),
    tags: Sequence[str | None] | None = None,
) -> list[WordAttention]:
    """Return the attention of `model` when it is forced to answer each source line with its target line, on words.

    A tag before the source is no word: what attends to it counts as attention to the end of sentence.
    A target word has the mean of its pieces' weights, each summed over the pieces of a source word. A line without
    spaces in a language that is written so (zh, ja, th) has its pieces as words. The model must have attention.
    """
    found = piece_attention(model, tokenizer, sources, targets, selection, tags)
    return [on_words(each, languages) for each in found]


def piece_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    tags: Sequence[str | None] | None = None,
    kind: AttentionKind = "cross",
) -> list[PieceAttention]:
    """Return the attention of `model` when it is forced to answer each source line with its target line, on pieces.

    `selection` takes what is wanted of each sentence's weights [layers, heads, queries, keys].
    """
    if not model.has_attention(kind):
        raise NmtError(_NO_ATTENTION[kind])
    pairs = []
    for source, target, tag in zip(sources, targets, tags or [None] * len(sources), strict=True):
        head = tokenizer.tag_ids(tag)
        read, said = tokenizer.locate_source(source), tokenizer.locate_target(target)
        source_side = Side(source, [*head, *read.ids], [*(None for _ in head), *read.spans, None])
        pairs.append((source_side, Side(target, said.ids, [*said.spans, None])))
    results: dict[int, PieceAttention] = {}
    for rows in batches([max(len(side.ids) for side in pair) for pair in pairs], TOKENS_PER_BATCH):
        for row, weights in zip(rows, _force(model, [pairs[row] for row in rows], kind), strict=True):
            keys, queries = _keys_and_queries(*pairs[row], kind)
            chosen = selection(weights)[..., : len(queries.ids), : len(keys.ids)]
            results[row] = PieceAttention(chosen.float().cpu().numpy(), keys, queries)
    return [results[row] for row in range(len(results))]


def _keys_and_queries(source: Side, target: Side, kind: AttentionKind) -> tuple[Side, Side]:
    """Return the sides of a kind of attention. A decoder's own keys are what it has read: the target after BOS."""
    if kind == "cross":
        return source, target
    if kind == "encoder":
        return source, source
    return Side(target.text, [BOS, *target.ids[:-1]], [None, *target.spans[:-1]]), target


def on_words(
    found: PieceAttention, languages: tuple[str, str] = ("", ""), punctuation_apart: bool = False
) -> WordAttention:
    """Return the attention between pieces as that between the words of their lines, in these languages.

    With punctuation_apart the punctuation at a word's edges counts as words of its own, as a picture shows it.
    """
    (source_words, source_units), (target_words, target_units) = (
        units_of(side.text, side.spans, language, punctuation_apart)
        for side, language in zip((found.source, found.target), languages, strict=True)
    )
    weights = pool(found.weights, target_units, source_units, len(target_words), len(source_words))
    return WordAttention(source_words, target_words, weights)


def pool(
    weights: NDArray[np.float32],
    target_units: Sequence[range],
    source_units: Sequence[range],
    target_words: int,
    source_words: int,
) -> NDArray[np.float32]:
    """Piece weights [..., tgt_len, src_len] to word weights [..., target words + 1, source words + 1].

    Means over a target word's pieces, sums over a source word's. The units are the words of each piece: one that lies
    in several source words gives each an equal share. A word without pieces has weight zero.
    """
    into_source = np.zeros((len(source_units), source_words + 1), dtype=np.float32)
    for piece, words in enumerate(source_units):
        into_source[piece, words] = 1 / len(words)
    into_target = np.zeros((target_words + 1, len(target_units)), dtype=np.float32)
    for piece, words in enumerate(target_units):
        into_target[words, piece] = 1
    into_target /= np.maximum(into_target.sum(1, keepdims=True), 1)
    return np.asarray(into_target @ weights @ into_source, dtype=np.float32)


def _force(model: Seq2Seq, pairs: Sequence[tuple[Side, Side]], kind: AttentionKind) -> Tensor:
    """Return weights [batch, layers, heads, queries, keys]."""
    import torch

    from nmt.data.batching import collate

    sources, targets = ([side.ids for side in sides] for sides in zip(*pairs, strict=True))
    batch = collate(sources, targets).to(next(model.parameters()).device)
    with torch.inference_mode():
        return model.eval().attention(batch.src, batch.src_mask, batch.tgt_in, kind)


def _groups(choice: int | str, there: Sequence[int], what: str) -> list[list[int]]:
    """Return the layers, or heads, of those that are there, that each map of a choice is the average of."""
    if choice == "mean":
        return [list(there)]
    if choice == "all":
        return [[number] for number in there]
    if not isinstance(choice, int) or choice - 1 not in there:
        raise UsageError(f"--{what} {choice}: this model's attention has {_listed(there, what)}")
    return [[choice - 1]]


def _listed(there: Sequence[int], what: str) -> str:
    """Say which layers, or heads, there are, counted from 1."""
    numbers = [number + 1 for number in there]
    if len(numbers) == 1:
        return f"one {what}" if numbers == [1] else f"{what} {numbers[0]} alone"
    shown = ", ".join(map(str, numbers)) if numbers[-1] > len(numbers) else f"1 to {numbers[-1]}"
    return f"{what}s {shown} (or mean, or all)"
