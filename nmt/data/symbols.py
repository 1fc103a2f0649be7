"""Strings that a SentencePiece model keeps whole, such as <date> (its user-defined symbols)."""

from __future__ import annotations

from typing import Any

from nmt.data.sentencepiece_model import NORMAL, UNIGRAM, USER_DEFINED, parse, serialise

_SCORE = 256.0  # of a symbol; pieces that were learned have a score of at most 0


def is_symbol(score: float) -> bool:
    """Whether the piece with this score is such a string."""
    return score > 0


def mark(model: Any) -> None:
    """Mark the symbols of a parsed model by their scores, which changes nothing about how it cuts text."""
    for piece in model.pieces:
        if piece.type == USER_DEFINED:
            piece.score = _SCORE


def keep_whole(serialised: bytes) -> bytes:
    """Return a model that was just trained with its symbols kept whole in any text, and marked by their scores.

    In a unigram model SentencePiece lets a symbol compete with the pieces around it, and where these are likely and
    lie across its ends, it is cut. With so high a score it always wins. That takes an ordinary piece, since of
    user-defined ones SentencePiece does not read the score. Other algorithms cut text at the symbols first.
    """
    model = parse(serialised)
    mark(model)
    if model.trainer_spec.model_type == UNIGRAM:
        for piece in model.pieces:
            if piece.type == USER_DEFINED:
                piece.type = NORMAL
    return serialise(model)
