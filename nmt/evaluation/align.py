"""Word alignments read off attention: a sentence pair is forced through the decoder and its weights summed over words.

The weights of target position t are those with which the decoder predicts token t. A Transformer has them for every
layer and head; by default the heads of the penultimate layer are averaged, which align best (Garg et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nmt.config.languages import is_unspaced
from nmt.errors import NmtError, UsageError
from nmt.evaluation.alignment_error import Link

if TYPE_CHECKING:
    from torch import Tensor

    from nmt.data.tokenizer import Tokenizer
    from nmt.models.seq2seq import Seq2Seq

MARK = "▁"  # SentencePiece writes the space before a word so
END = "</s>"
TOKENS_PER_BATCH = 4096  # padded target tokens forced through the decoder at once


@dataclass(frozen=True)
class Selection:
    """Which attention of a decoder with several layers and heads: a number counted from 1, or "all" for the average."""

    layer: int | str | None = None  # None: the last layer but one
    head: int | str = "all"

    def __call__(self, weights: Tensor) -> Tensor:
        """Weights [layers, heads, tgt_len, src_len] -> [tgt_len, src_len]."""
        layers, heads = weights.shape[:2]
        layer = max(layers - 1, 1) if self.layer is None else self.layer
        chosen = weights.mean(0) if layer == "all" else weights[_index(layer, layers, "layer")]
        return chosen.mean(0) if self.head == "all" else chosen[_index(self.head, heads, "head")]


DEFAULT = Selection()


@dataclass(frozen=True)
class WordAttention:
    """The attention between the words of a sentence pair; the last row and column stand for the end of sentence."""

    source_words: list[str]
    target_words: list[str]
    weights: NDArray[np.float32]  # [target words + 1, source words + 1]; each row sums to one

    @property
    def links(self) -> list[Link]:
        """The source word that each target word attends to most; every target word has one (none without a source)."""
        between = self.weights[:-1, :-1]
        if not between.size:
            return []
        return sorted((int(source), target) for target, source in enumerate(between.argmax(1)))

    @property
    def labels(self) -> tuple[list[str], list[str]]:
        """What to write beside the weights: source and target words, then the end of sentence."""
        return [*self.source_words, END], [*self.target_words, END]


def word_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    selection: Selection = DEFAULT,
    languages: tuple[str, str] = ("", ""),
    tags: Sequence[str | None] | None = None,
) -> list[WordAttention]:
    """The attention of `model` when it is forced to answer each source line with its target line, on words.

    A tag before the source is no word: what attends to it counts as attention to the end of sentence.
    A target word has the mean of its pieces' weights, each summed over the pieces of a source word. A line without
    spaces in a language that is written so (zh, ja, th) has its pieces as words. The model must have attention.
    """
    if not model.attends:
        raise NmtError("this model has no attention: it reads the source as one fixed vector, so there is no alignment")
    heads = [tokenizer.tag_ids(tag) for tag in tags or [None] * len(sources)]
    source_ids = [[*head, *ids] for head, ids in zip(heads, tokenizer.encode_source(sources), strict=True)]
    target_ids = tokenizer.encode_target(targets)
    results: list[WordAttention | None] = [None] * len(sources)
    for rows in _batches(source_ids, target_ids):
        weights = _force(model, [source_ids[row] for row in rows], [target_ids[row] for row in rows])
        for row, sentence in zip(rows, weights, strict=True):
            piece_weights = selection(sentence)[: len(target_ids[row]), : len(source_ids[row])].float().cpu().numpy()
            head = len(heads[row])
            pieces = tokenizer.source_pieces(source_ids[row][head:])
            source_words, source_units = _units(sources[row], pieces, languages[0])
            source_units = [source_units[-1]] * head + source_units
            target_words, target_units = _units(targets[row], tokenizer.target_pieces(target_ids[row]), languages[1])
            results[row] = WordAttention(
                source_words, target_words, pool(piece_weights, target_units, source_units, target_words, source_words)
            )
    return [result for result in results if result is not None]


def pool(
    weights: NDArray[np.float32],
    target_units: Sequence[int],
    source_units: Sequence[int],
    target_words: Sequence[str],
    source_words: Sequence[str],
) -> NDArray[np.float32]:
    """Piece weights [tgt_len, src_len] to word weights [target words + 1, source words + 1].

    Means over a target word's pieces, sums over a source word's; the units are the word of each piece. A word without
    pieces has weight zero.
    """
    into_source = np.zeros((len(source_units), len(source_words) + 1), dtype=np.float32)
    into_source[np.arange(len(source_units)), source_units] = 1
    into_target = np.zeros((len(target_words) + 1, len(target_units)), dtype=np.float32)
    into_target[target_units, np.arange(len(target_units))] = 1
    into_target /= np.maximum(into_target.sum(1, keepdims=True), 1)
    return np.asarray(into_target @ weights @ into_source, dtype=np.float32)


def word_ids(pieces: Sequence[str]) -> list[int]:
    """The word that each piece belongs to, counted from 0.

    A word begins after a mark or a space; a mark alone belongs to the word that follows.
    """
    ids = []
    word, inside = -1, False
    for piece in pieces:
        first = None
        for character in piece:
            if character == MARK or character.isspace():
                inside = False
                continue
            if not inside:
                word, inside = word + 1, True
            first = word if first is None else first
        ids.append(word + 1 if first is None else first)
    return ids


def _units(line: str, pieces: Sequence[str], language: str) -> tuple[list[str], list[int]]:
    """The words of a line and the word of each piece; the last piece, the end of sentence, is one more."""
    words = line.split()
    body = pieces[:-1]
    if is_unspaced(language) and len(words) == 1:
        shown = [piece.replace(MARK, "") or MARK for piece in body]
        return shown, list(range(len(pieces)))
    last = max(len(words) - 1, 0)
    return words, [*(min(word, last) for word in word_ids(body)), len(words)]


def _batches(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of sentences of similar length, as many at a time as fit the padded budget."""
    order = sorted(range(len(sources)), key=lambda row: (len(targets[row]), len(sources[row]), row))
    batch: list[int] = []
    widest = 0
    for row in order:
        width = max(widest, len(sources[row]), len(targets[row]))
        if batch and width * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch, width = [], max(len(sources[row]), len(targets[row]))
        batch.append(row)
        widest = width
    if batch:
        yield batch


def _force(model: Seq2Seq, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Tensor:
    """Weights [batch, layers, heads, tgt_len, src_len]."""
    import torch

    from nmt.data.batching import collate

    batch = collate(sources, targets).to(next(model.parameters()).device)
    with torch.inference_mode():
        return model.eval().attention(batch.src, batch.src_mask, batch.tgt_in)


def _index(number: int | str, count: int, what: str) -> int:
    if not isinstance(number, int) or not 1 <= number <= count:
        raise UsageError(f"--{what} {number}: this model's decoder has {what}s 1 to {count}, or all for their average")
    return number - 1
