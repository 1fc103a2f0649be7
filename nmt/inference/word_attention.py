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
T = TypeVar("T")
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


class PieceAttention(NamedTuple):
    """The attention between the pieces of two lines, and where in its line each piece stands.

    A span of None is for what is no text and counts as the end of sentence: that itself, and a tag before the source.
    In self-attention both sides are those of one line.
    """

    weights: NDArray[np.float32]  # [..., target pieces, source pieces]; each row sums to one
    source: list[Span | None]
    target: list[Span | None]
    source_ids: list[int]
    target_ids: list[int]


def word_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    languages: tuple[str, str] = ("", ""),
    tags: Sequence[str | None] | None = None,
) -> list[WordAttention]:
    """The attention of `model` when it is forced to answer each source line with its target line, on words.

    A tag before the source is no word: what attends to it counts as attention to the end of sentence.
    A target word has the mean of its pieces' weights, each summed over the pieces of a source word. A line without
    spaces in a language that is written so (zh, ja, th) has its pieces as words. The model must have attention.
    """
    found = piece_attention(model, tokenizer, sources, targets, selection, tags)
    return [on_words(*each, languages) for each in zip(found, sources, targets, strict=True)]


def piece_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Select = DEFAULT,
    tags: Sequence[str | None] | None = None,
    kind: AttentionKind = "cross",
) -> list[PieceAttention]:
    """The attention of `model` when it is forced to answer each source line with its target line, on pieces.

    `selection` takes what is wanted of each sentence's weights [layers, heads, queries, keys].
    """
    if not model.has_attention(kind):
        raise NmtError(_NO_ATTENTION[kind])
    heads = [tokenizer.tag_ids(tag) for tag in tags or [None] * len(sources)]
    located = [tokenizer.locate_source(line) for line in sources], [tokenizer.locate_target(line) for line in targets]
    source_ids = [[*head, *line.ids] for head, line in zip(heads, located[0], strict=True)]
    target_ids = [line.ids for line in located[1]]
    results: dict[int, PieceAttention] = {}
    lengths = [max(map(len, pair)) for pair in zip(source_ids, target_ids, strict=True)]
    for rows in batches(lengths, TOKENS_PER_BATCH):
        weights = _force(model, [source_ids[row] for row in rows], [target_ids[row] for row in rows], kind)
        for row, sentence in zip(rows, weights, strict=True):
            source = [*(None for _ in heads[row]), *located[0][row].spans, None]
            target = [*located[1][row].spans, None]
            keys, queries = _sides(source, target, None, kind)
            key_ids, query_ids = _sides(source_ids[row], target_ids[row], BOS, kind)
            chosen = selection(sentence)[..., : len(queries), : len(keys)]
            results[row] = PieceAttention(chosen.float().cpu().numpy(), keys, queries, key_ids, query_ids)
    return [results[row] for row in range(len(results))]


def _sides(source: list[T], target: list[T], begin: T, kind: AttentionKind) -> tuple[list[T], list[T]]:
    """Return keys and queries. A decoder's own keys are what it has read: the target after `begin`."""
    if kind == "cross":
        return source, target
    return (source, source) if kind == "encoder" else ([begin, *target[:-1]], target)


def on_words(
    found: PieceAttention,
    source: str,
    target: str,
    languages: tuple[str, str] = ("", ""),
    punctuation_apart: bool = False,
) -> WordAttention:
    """The attention between pieces as that between the words of their lines.

    With punctuation_apart the punctuation at a word's edges counts as words of its own, as a picture shows it.
    """
    source_words, source_units = units_of(source, found.source, languages[0], punctuation_apart)
    target_words, target_units = units_of(target, found.target, languages[1], punctuation_apart)
    return WordAttention(
        source_words,
        target_words,
        pool(found.weights, target_units, source_units, len(target_words), len(source_words)),
    )


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


def _force(
    model: Seq2Seq, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], kind: AttentionKind
) -> Tensor:
    """Weights [batch, layers, heads, queries, keys]."""
    import torch

    from nmt.data.batching import collate

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
