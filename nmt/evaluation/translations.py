"""The attention with which translations were made, over all of a line that was translated in segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nmt.evaluation.align import PieceAttention, WordAttention, on_words, piece_attention
from nmt.translation.hypotheses import Translation

if TYPE_CHECKING:
    from nmt.data.tokenizer import Span, Tokenizer
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
    found = iter(piece_attention(model, tokenizer, sources, targets, tags=[tag] * len(sources)))
    return [_of_line(translation, found, languages) for translation in translations]


def _of_line(translation: Translation, found: Iterator[PieceAttention], languages: tuple[str, str]) -> WordAttention:
    """The attention of a line, given that of its segments, which come next in `found`."""
    segments = translation.hypotheses[0].segments
    if not segments:
        return WordAttention([], [], np.ones((1, 1), dtype=np.float32))
    parts = [next(found) for _ in segments]
    source = _places(translation.source, [segment.source for segment in segments], [part.source for part in parts])
    target = _places(translation.text, [segment.text for segment in segments], [part.target for part in parts])
    weights = np.zeros((len(target), len(source)), dtype=np.float32)
    row = column = 0
    for part in parts:
        height, width = part.weights.shape
        weights[row : row + height, column : column + width] = part.weights
        row, column = row + height, column + width
    whole = PieceAttention(weights, source, target)
    return on_words(whole, translation.source, translation.text, languages)


def _places(line: str, segments: Sequence[str], spans: Sequence[Sequence[Span | None]]) -> list[Span | None]:
    """Where in a line the pieces of its segments stand, given where they stand in those."""
    found: list[Span | None] = []
    end = 0
    for segment, of_segment in zip(segments, spans, strict=True):
        place = line.index(segment, end)
        found += [None if span is None else (place + span[0], place + span[1]) for span in of_segment]
        end = place + len(segment)
    return found
