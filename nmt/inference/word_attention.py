"""Attention between words, and word alignments: force a sentence pair through the model and combine token weights.

The weights of target position t are the ones the decoder uses when it predicts token t. A Transformer has weights for
every layer and head; by default the heads of the last layer but one are averaged, because that layer aligns best (Garg
et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nmt.data.alignments import Link
from nmt.data.tokenizer import BOS
from nmt.data.words import units_of
from nmt.errors import NmtError, UsageError, returned_nan
from nmt.inference.batches import batches

if TYPE_CHECKING:
    from torch import Tensor

    from nmt.data.tokenizer import Span, Tokenizer
    from nmt.models.contract import AttentionKind
    from nmt.models.seq2seq import Seq2Seq

BEGIN, END = "<s>", "</s>"
_NO_ATTENTION = {
    "cross": "this model has no attention: it reads the source as one fixed vector, so there is no alignment",
    "encoder": "no layer of this model's encoder has self-attention",
    "decoder": "no layer of this model's decoder has self-attention",
}
Weights = TypeVar("Weights", "Tensor", NDArray[np.float32])
TOKENS_PER_BATCH = 4096  # padded tokens forced through the model at once


@dataclass(frozen=True)
class Selection:
    """A choice of layers and heads: a number counted from 1, "mean" for their average, or "all" for each of them.

    If a single map is needed, for example for links, "all" means the average, too.
    """

    layer: int | str | None = None  # None: the last layer but one
    head: int | str = "mean"

    def __call__(self, weights: Weights) -> Weights:
        """Select or average weights [layers, heads, queries, keys] -> [queries, keys]."""
        layers: list[list[int]]
        heads: list[list[int]]
        layers, heads = self.groups(range(weights.shape[0]), weights.shape[1])
        found: Weights = weights[[*chain(*layers)]].mean(0)[[*chain(*heads)]].mean(0)
        return found

    def groups(self, layers: Sequence[int], heads: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return two lists, of layer groups and of head groups; the layers or heads of a group are to be averaged.

        `layers` are the indices, from 0, of the layers that have attention, and `heads` is the number of heads. The
        indices that are returned also start at 0. Raises UsageError for a layer or head that does not exist.
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
    weights: NDArray[np.float32]  # [..., target words + 1, source words + 1]; mostly, rows sum to one

    @property
    def links(self) -> list[Link]:
        """The alignment links: each target word with the source word it attends to most.

        A target word that attends to no source word has no link. The weights must be a single map [target words + 1,
        source words + 1].
        """
        between = self.weights[:-1, :-1]  # without the ends of sentence
        if not between.size:
            return []
        heaviest = enumerate(between.argmax(1))
        return sorted((int(source), target) for target, source in heaviest if between[target, source] > 0)

    @property
    def labels(self) -> tuple[list[str], list[str]]:
        """The labels of the weights' columns and rows: source words and target words, each with the end of sentence."""
        return [*self.source_words, END], [*self.target_words, END]


class Side(NamedTuple):
    """One line of a sentence pair as the model reads it: token ids, and the span of the line that each token covers.

    A token that is not part of the text (a tag, BOS, the end of sentence) has None for its span. When pieces are
    combined into words, such a token counts as the end of sentence.
    """

    text: str
    ids: list[int]  # with the tag, if there is one, and the end of sentence
    spans: list[Span | None]  # one per id


class PieceAttention(NamedTuple):
    """The attention between the pieces of two lines; for self-attention both sides are the same line."""

    weights: NDArray[np.float32]  # [..., target pieces, source pieces]; mostly, rows sum to one
    source: Side
    target: Side


def word_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    languages: Sequence[tuple[str, str]] | None = None,
    tags: Sequence[str | None] | None = None,
) -> list[WordAttention]:
    """Return the attention between words when `model` is forced to translate each source line as its target line.

    The weight between two words is summed over the pieces of the source word and averaged over the pieces of the target
    word. A tag before the source is not a word: attention to it counts as attention to the end of sentence. In
    languages without spaces (zh, ja, th) the pieces are used as words; `languages` are those of source and target, a
    pair for each line. The model must have attention.
    """
    found = piece_attention(model, tokenizer, sources, targets, selection, tags)
    each_languages = languages or [("", "")] * len(found)
    return [on_words(each, pair) for each, pair in zip(found, each_languages, strict=True)]


def piece_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    tags: Sequence[str | None] | None = None,
    kind: AttentionKind = "cross",
) -> list[PieceAttention]:
    """Return the attention between pieces when `model` is forced to translate each source line as its target line.

    `selection` is applied to each sentence's weights [layers, heads, queries, keys], to choose or average layers and
    heads. Raises NmtError if the model does not have this kind of attention.
    """
    return side_attention(model, sides_of(tokenizer, sources, targets, tags), selection, kind)


def side_attention(
    model: Seq2Seq, pairs: Sequence[tuple[Side, Side]], selection: Select = DEFAULT, kind: AttentionKind = "cross"
) -> list[PieceAttention]:
    """Do what `piece_attention` does for lines that are tokens already: a source and a target side for each pair."""
    if not model.has_attention(kind):
        raise NmtError(_NO_ATTENTION[kind])
    results: dict[int, PieceAttention] = {}
    for rows in batches([max(len(side.ids) for side in pair) for pair in pairs], TOKENS_PER_BATCH):
        for row, weights in zip(rows, _force(model, [pairs[row] for row in rows], kind), strict=True):
            keys, queries = _keys_and_queries(*pairs[row], kind)
            chosen = selection(weights)[..., : len(queries.ids), : len(keys.ids)].float().cpu().numpy()
            if np.isnan(chosen).any():
                raise returned_nan()
            results[row] = PieceAttention(chosen, keys, queries)
    return [results[row] for row in range(len(results))]


def sides_of(
    tokenizer: Tokenizer, sources: Sequence[str], targets: Sequence[str], tags: Sequence[str | None] | None = None
) -> list[tuple[Side, Side]]:
    """Return the source side and the target side of each pair of lines."""
    pairs = []
    for source, target, tag in zip(sources, targets, tags or [None] * len(sources), strict=True):
        head = tokenizer.tag_ids(tag)
        read, said = tokenizer.locate_source(source), tokenizer.locate_target(target)
        source_side = Side(source, [*head, *read.ids], [*(None for _ in head), *read.spans, None])
        pairs.append((source_side, Side(target, said.ids, [*said.spans, None])))
    return pairs


def _keys_and_queries(source: Side, target: Side, kind: AttentionKind) -> tuple[Side, Side]:
    """Return the sides that are the keys and the queries in this kind of attention.

    In the decoder's self-attention the keys are the tokens it has read: the target shifted by one, with BOS first.
    """
    if kind == "cross":
        return source, target
    if kind == "encoder":
        return source, source
    return Side(target.text, [BOS, *target.ids[:-1]], [None, *target.spans[:-1]]), target


def on_words(
    found: PieceAttention, languages: tuple[str, str] = ("", ""), punctuation_apart: bool = False
) -> WordAttention:
    """Combine the attention between pieces into attention between words; `languages` are those of source and target.

    With punctuation_apart, punctuation at the edges of a word counts as separate words, which is easier to read in a
    picture.
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
    """Combine piece weights [..., tgt_len, src_len] into word weights [..., target words + 1, source words + 1].

    Weights are averaged over the pieces of a target word and summed over the pieces of a source word. The units give
    the range of words that each piece belongs to. A piece that belongs to several source words is shared equally
    between them. A word without pieces has weight zero.
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
    """Force a batch of sentence pairs through the model and return weights [batch, layers, heads, queries, keys]."""
    from nmt.data.batch import collate
    from nmt.models.evaluating import evaluating  # torch

    sources, targets = ([side.ids for side in sides] for sides in zip(*pairs, strict=True))
    batch = collate(sources, targets).to(next(model.parameters()).device)
    with evaluating(model):
        return model.attention(batch.src, batch.src_mask, batch.tgt_in, kind)


def _groups(choice: int | str, there: Sequence[int], what: str) -> list[list[int]]:
    """Return the groups of layers, or heads, that a choice means: one of all, one of each, or a single one.

    `there` are the indices that exist, from 0; `what` is "layer" or "head", for the error message.
    """
    if choice == "mean":
        return [list(there)]
    if choice == "all":
        return [[number] for number in there]
    if type(choice) is not int or choice - 1 not in there:
        raise UsageError(f"{what} {choice}: this model's attention has {_listed(there, what)}")
    return [[choice - 1]]


def _listed(there: Sequence[int], what: str) -> str:
    """Return a phrase that lists the layers, or heads, that exist, counted from 1."""
    numbers = [number + 1 for number in there]
    if len(numbers) == 1:
        return f"one {what}" if numbers == [1] else f"{what} {numbers[0]} alone"
    shown = ", ".join(map(str, numbers)) if numbers[-1] > len(numbers) else f"1 to {numbers[-1]}"
    return f"{what}s {shown} (or mean, or all)"
