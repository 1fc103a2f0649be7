"""The attention with which translations were made, over all of a line that was translated in segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nmt.config.languages import is_unspaced
from nmt.evaluation.align import WordAttention, pool, word_attention
from nmt.translation.hypotheses import Translation

if TYPE_CHECKING:
    from nmt.data.tokenizer import Tokenizer
    from nmt.models.seq2seq import Seq2Seq


def translation_attention(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    translations: Sequence[Translation],
    languages: tuple[str, str] = ("", ""),
    tag: str | None = None,
) -> list[WordAttention]:
    """The attention between each line and its first hypothesis, on words; see `word_attention`.

    A line in segments is aligned segment by segment, as it was translated: nothing attends from one to another, and the
    end of sentence stands for that of every segment. A line that was not translated, as an empty one, has no words.
    """
    chosen = [translation.hypotheses[0].segments for translation in translations]
    sources = [segment.source for segments in chosen for segment in segments]
    targets = [segment.text for segments in chosen for segment in segments]
    tags = [tag] * len(sources)
    found = iter(word_attention(model, tokenizer, sources, targets, languages=languages, tags=tags))
    return [
        _joined(translation, [next(found) for _ in segments], languages)
        for translation, segments in zip(translations, chosen, strict=True)
    ]


def _joined(translation: Translation, parts: list[WordAttention], languages: tuple[str, str]) -> WordAttention:
    """The attention of a line, given that of its segments."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return WordAttention([], [], np.ones((1, 1), dtype=np.float32))
    segments = translation.hypotheses[0].segments
    source_words, source_units = _merge(
        translation.source,
        [segment.source for segment in segments],
        [part.source_words for part in parts],
        not is_unspaced(languages[0]),
    )
    target_words, target_units = _merge(
        translation.text,
        [segment.text for segment in segments],
        [part.target_words for part in parts],
        not is_unspaced(languages[1]),
    )
    weights = np.zeros((len(target_units), len(source_units)), dtype=np.float32)
    row = column = 0
    for part in parts:
        height, width = part.weights.shape
        weights[row : row + height, column : column + width] = part.weights
        row, column = row + height, column + width
    return WordAttention(
        source_words, target_words, pool(weights, target_units, source_units, target_words, source_words)
    )


def _merge(
    line: str, segments: Sequence[str], words: Sequence[Sequence[str]], spaced: bool
) -> tuple[list[str], list[int]]:
    """The words of a line, and which of them each word of its segments is; after a segment's, its end of sentence.

    In a language with spaces, a word that lies across the cut is one word.
    """
    merged: list[str] = []
    units: list[int | None] = []
    place = 0
    for segment, of_segment in zip(segments, words, strict=True):
        place = line.index(segment, place)
        edge = line[place - 1 : place] + segment[:1]
        across = bool(spaced and merged and of_segment) and not any(map(str.isspace, edge))
        first = len(merged) - across
        units += [*range(first, first + len(of_segment)), None]
        if across:
            merged[-1] += of_segment[0]
        merged += of_segment[1:] if across else of_segment
        place += len(segment)
    return merged, [len(merged) if unit is None else unit for unit in units]
