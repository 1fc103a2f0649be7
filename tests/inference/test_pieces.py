"""Test that long lines are split into segments at the ends of sentences in their language."""

from __future__ import annotations

import pytest

from nmt.inference.pieces import pieces_of
from tests.toy_run import toy_tokenizer


@pytest.mark.parametrize(
    ("language", "segments"), [("de", ["Er kam bzw. Sie ", "kam."]), ("en", ["Er kam bzw. ", "Sie kam."])]
)
def test_sentences_end_as_in_the_language_of_the_source(language: str, segments: list[str]) -> None:
    line, tokenizer = "Er kam bzw. Sie kam.", toy_tokenizer()
    one_too_few = len(tokenizer.encode_source([line])[0]) - 1
    pieces = pieces_of(["", line], tokenizer, one_too_few, language, lambda _: None)
    assert [(piece.line, piece.segment, piece.text) for piece in pieces] == [
        (1, number, text) for number, text in enumerate(segments)
    ]
    assert [piece.ids for piece in pieces] == tokenizer.encode_source(segments)
