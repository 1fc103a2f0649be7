"""The attention behind translations, as one matrix per line, even if the line was translated in segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

from nmt.data.tokenizer import EOS
from nmt.data.words import word_spans
from nmt.inference.hypotheses import Translation
from nmt.inference.word_attention import DEFAULT, PieceAttention, Select, Side, side_attention, sides_of

if TYPE_CHECKING:
    from nmt.data.tokenizer import Span, Tokenizer
    from nmt.models.seq2seq import Seq2Seq


def translated_pieces(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    translations: Sequence[Translation],
    selection: Select = DEFAULT,
    tags: Sequence[str | None] | None = None,
) -> list[PieceAttention]:
    """Return the attention between the pieces of each source line, with its tag, and those of its first hypothesis.

    The tokens of a hypothesis are those that the search found: encoding its text again could give others. If a line
    was translated in segments, each segment is forced through the model separately: weights between different segments
    are zero, and every segment has its own end of sentence. A line that was not translated, such as an empty line, only
    has the end of sentence.
    """
    sources, targets, segment_tags, found_ids = [], [], [], []
    for translation, tag in zip(translations, tags or [None] * len(translations), strict=True):
        segments = translation.hypotheses[0].segments
        sources += [segment.source for segment in segments] or [""]
        targets += [segment.text for segment in segments] or [""]
        segment_tags += [tag] * max(len(segments), 1)
        found_ids += [segment.target_ids for segment in segments] or [[]]
    pairs = [
        (source, _as_found(target, ids, tokenizer))
        for (source, target), ids in zip(sides_of(tokenizer, sources, targets, segment_tags), found_ids, strict=True)
    ]
    found = iter(side_attention(model, pairs, selection))
    return [_of_line(translation, found) for translation in translations]


def _as_found(target: Side, ids: Sequence[int], tokenizer: Tokenizer) -> Side:
    """Return the target side with the tokens that the search found, and the span of the text that each has spelled.

    If the tokens do not spell the text, since it begins with a prefix that the vocabulary cannot spell, the side is
    returned as it is. In a vocabulary of words, a token is a word of the text, also where an unknown one was replaced.
    """
    tokens = [id for id in ids if id != EOS]
    words = word_spans(target.text)
    if tokenizer.of_words and len(words) == len(tokens):
        return Side(target.text, [*tokens, EOS], [*words, None])
    if tokenizer.decode_target(tokens) != target.text:
        return target
    ends = [len(tokenizer.decode_target(tokens[:count])) for count in range(1, len(tokens) + 1)]
    return Side(target.text, [*tokens, EOS], [*pairwise([0, *ends]), None])


def _of_line(translation: Translation, found: Iterator[PieceAttention]) -> PieceAttention:
    """Return the attention of a line: a block-diagonal matrix of its segments, which are taken from `found`."""
    segments = translation.hypotheses[0].segments
    if not segments:
        return next(found)
    parts = list(islice(found, len(segments)))
    source = _joined(translation.source, [part.source for part in parts])
    target = _joined(translation.text, [part.target for part in parts])
    shape = (*parts[0].weights.shape[:-2], len(target.ids), len(source.ids))
    weights = np.zeros(shape, dtype=np.float32)
    row = column = 0
    for part in parts:
        height, width = part.weights.shape[-2:]
        weights[..., row : row + height, column : column + width] = part.weights
        row, column = row + height, column + width
    return PieceAttention(weights, source, target)


def _joined(line: str, segments: Sequence[Side]) -> Side:
    """Join the sides of a line's segments into one side, with spans that count from the start of the line."""
    spans: list[Span | None] = []
    end = 0
    for segment in segments:
        place = line.index(segment.text, end)
        spans += [None if span is None else (place + span[0], place + span[1]) for span in segment.spans]
        end = place + len(segment.text)
    return Side(line, [id for segment in segments for id in segment.ids], spans)
