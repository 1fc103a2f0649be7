"""The attention with which translations were made, over all of a line that was translated in segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nmt.inference.hypotheses import Translation
from nmt.inference.word_attention import DEFAULT, PieceAttention, Select, WordAttention, on_words, piece_attention

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

    A line that was not translated, as an empty one, has no words.
    """
    found = translated_pieces(model, tokenizer, translations, tags=[tag] * len(translations))
    return [on_words(pieces, *_texts(one), languages) for pieces, one in zip(found, translations, strict=True)]


def translated_pieces(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    translations: Sequence[Translation],
    selection: Select = DEFAULT,
    tags: Sequence[str | None] | None = None,
) -> list[PieceAttention]:
    """The attention between each line, with its tag, and its first hypothesis, on pieces.

    A line in segments is aligned segment by segment, as it was translated: nothing attends from one to another, and the
    end of sentence stands for that of every segment. A line that was not translated has the end of sentence alone.
    """
    segments = [_segments(translation) for translation in translations]
    counts = map(len, segments)
    each = [tag for tag, count in zip(tags or [None] * len(translations), counts, strict=True) for _ in range(count)]
    sources, targets = ([pair[side] for pairs in segments for pair in pairs] for side in (0, 1))
    found = iter(piece_attention(model, tokenizer, sources, targets, selection, each))
    return [_of_line(*_texts(one), pairs, found) for one, pairs in zip(translations, segments, strict=True)]


def _segments(translation: Translation) -> list[tuple[str, str]]:
    """The source and target text of each segment of a line's first hypothesis; nothing for a line without any."""
    return [(segment.source, segment.text) for segment in translation.hypotheses[0].segments] or [("", "")]


def _texts(translation: Translation) -> tuple[str, str]:
    """A line and its first hypothesis, or nothing where it was not translated."""
    return (translation.source, translation.text) if translation.hypotheses[0].segments else ("", "")


def _of_line(
    source: str, target: str, segments: Sequence[tuple[str, str]], found: Iterator[PieceAttention]
) -> PieceAttention:
    """The attention of a line, given that of its segments, which come next in `found`."""
    parts = [next(found) for _ in segments]
    if len(parts) == 1 and segments[0] == (source, target):
        return parts[0]
    spans_of_source = _places(source, [text for text, _ in segments], [part.source for part in parts])
    spans_of_target = _places(target, [text for _, text in segments], [part.target for part in parts])
    shape = (*parts[0].weights.shape[:-2], len(spans_of_target), len(spans_of_source))
    weights = np.zeros(shape, dtype=np.float32)
    row = column = 0
    for part in parts:
        height, width = part.weights.shape[-2:]
        weights[..., row : row + height, column : column + width] = part.weights
        row, column = row + height, column + width
    return PieceAttention(
        weights,
        spans_of_source,
        spans_of_target,
        [id for part in parts for id in part.source_ids],
        [id for part in parts for id in part.target_ids],
    )


def _places(line: str, segments: Sequence[str], spans: Sequence[Sequence[Span | None]]) -> list[Span | None]:
    """Where in a line the pieces of its segments stand, given where they stand in those."""
    found: list[Span | None] = []
    end = 0
    for segment, of_segment in zip(segments, spans, strict=True):
        place = line.index(segment, end)
        found += [None if span is None else (place + span[0], place + span[1]) for span in of_segment]
        end = place + len(segment)
    return found
