"""Translations as text: what a search found for the segments of a line, put together as answers to the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nmt.data.cleaning import normalise_whitespace
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.inference.pieces import Piece
from nmt.inference.segment import join_translations
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty


class Segment(NamedTuple):
    """A piece and one translation of it."""

    source: str
    source_ids: list[int]  # with the tag, if there is one, and the end of sentence
    text: str
    target_ids: list[int]  # with the end of sentence, where it finished


class TokenScore(NamedTuple):
    """A target token as a piece of text (▁ stands for the space before a word), and its log-probability."""

    piece: str
    log_prob: float


@dataclass(frozen=True)
class TextHypothesis:
    """One translation of a line."""

    text: str
    log_prob: float  # natural logarithm, summed over target tokens and end of sentence
    score: float  # log_prob over the length penalty, plus the coverage penalty
    tokens: list[int]  # target ids without the end of sentence
    finished: bool = True  # False: the longest length allowed came before an end of sentence
    segments: list[Segment] = field(default_factory=list, repr=False)  # of a line that was too long; else itself
    token_scores: list[TokenScore] = field(default_factory=list, repr=False)  # if asked for; with ends of sentences


@dataclass(frozen=True)
class Translation:
    """A line and its hypotheses, best score first, or its samples as they were drawn; there is always one."""

    source: str
    hypotheses: list[TextHypothesis]

    @property
    def text(self) -> str:
        """The first hypothesis."""
        return self.hypotheses[0].text

    @property
    def log_prob(self) -> float:
        """The first hypothesis's log-probability."""
        return self.hypotheses[0].log_prob

    @property
    def score(self) -> float:
        """The first hypothesis's score."""
        return self.hypotheses[0].score


def assemble(
    lines: Sequence[str],
    pieces: Sequence[Piece],
    found: Sequence[Sequence[Hypothesis]],
    tokenizer: Tokenizer,
    length_penalty: LengthPenalty,
    joined: int = 1,
) -> list[Translation]:
    """What was found for pieces as answers to lines; a line without pieces is answered by nothing.

    The first `joined` hypotheses of a line in segments are joined, the first of each segment, the second of each and so
    on, and scored over their whole length.
    """
    by_line: list[list[list[TextHypothesis]]] = [[] for _ in lines]
    for piece, hypotheses in zip(pieces, found, strict=True):
        by_line[piece.line].append([_as_text(hypothesis, piece, tokenizer) for hypothesis in hypotheses])
    return [
        Translation(line, _answer(answers, length_penalty, joined))
        for line, answers in zip(lines, by_line, strict=True)
    ]


def about_unfinished(translations: Sequence[Translation], first_line: int) -> str | None:
    """A sentence about lines, counted from first_line, whose first hypothesis did not finish; None if there is none."""
    unfinished = [line for line, one in enumerate(translations, start=first_line) if not one.hypotheses[0].finished]
    if not unfinished:
        return None
    numbers = ", ".join(map(str, unfinished[:10])) + (", ..." if len(unfinished) > 10 else "")
    counted = "translation" if len(unfinished) == 1 else "translations"
    return (
        f"{len(unfinished)} {counted} reached the longest length allowed without an end of sentence "
        f"(search.max_length_ratio, search.max_length_offset); lines: {numbers}"
    )


def text_of(tokens: Sequence[int], piece: Piece, tokenizer: Tokenizer) -> str:
    """The text of a hypothesis of a piece: its prefix as it was given, and what the search added.

    The prefix's own tokens need not spell it, since the vocabulary may lack some of its characters. What was added is
    read behind them, so it begins with a space where it begins a word; where the prefix ends in one, that is enough.
    """
    if not piece.begun:
        return tokenizer.decode_target(tokens)
    length = len(piece.prefix)
    added = tokenizer.decode_after(tokens[:length], tokens[length:])
    ends_in_space = not normalise_whitespace(piece.begun[-1])
    return piece.begun + (added.removeprefix(" ") if ends_in_space else added)


def _as_text(hypothesis: Hypothesis, piece: Piece, tokenizer: Tokenizer) -> TextHypothesis:
    tokens = hypothesis.tokens
    text = text_of(tokens, piece, tokenizer)
    segment = Segment(piece.text, piece.ids, text, [*tokens, EOS] if hypothesis.finished else tokens)
    return TextHypothesis(text, hypothesis.log_prob, hypothesis.score, tokens, hypothesis.finished, [segment])


def _answer(answers: list[list[TextHypothesis]], length_penalty: LengthPenalty, joined: int) -> list[TextHypothesis]:
    """The hypotheses of a line, given those of each of its pieces."""
    if not answers:
        return [TextHypothesis("", 0.0, 0.0, [])]
    if len(answers) == 1:
        return answers[0]
    return [_join(parts, length_penalty) for parts in list(zip(*answers, strict=False))[:joined]]


def _join(parts: Sequence[TextHypothesis], length_penalty: LengthPenalty) -> TextHypothesis:
    """A hypothesis of each of a line's segments as one, scored over its whole length."""
    segments = [segment for part in parts for segment in part.segments]
    text = join_translations([segment.source for segment in segments], [segment.text for segment in segments])
    tokens = [token for part in parts for token in part.tokens]
    log_prob = sum(part.log_prob for part in parts)
    lengths = [len(segment.target_ids) for segment in segments]
    coverage = sum(
        part.score - part.log_prob / length_penalty(length) for part, length in zip(parts, lengths, strict=True)
    )
    score = log_prob / length_penalty(sum(lengths)) + coverage
    return TextHypothesis(text, log_prob, score, tokens, all(part.finished for part in parts), segments)
