"""Translations as text, put together from the hypotheses that a search found for the segments of each line."""

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
    """One translation of a source segment: a whole line, or a part of a line that was too long."""

    source: str
    source_ids: list[int]  # with the tag, if there is one, and the end of sentence
    text: str  # the translation
    target_ids: list[int]  # with the end of sentence if the translation finished


class TokenScore(NamedTuple):
    """A target token as a piece of text (▁ stands for the space before a word), and its log-probability."""

    piece: str
    log_prob: float


@dataclass(frozen=True)
class TextHypothesis:
    """One translation of a line."""

    text: str
    log_prob: float  # natural logarithm, summed over target tokens and end of sentence
    score: float  # log_prob divided by the length penalty, plus the coverage penalty
    tokens: list[int]  # target ids without the end of sentence
    finished: bool = True  # False if the maximum length was reached before an end of sentence
    segments: list[Segment] = field(default_factory=list, repr=False)  # one, or several if the line was too long
    token_scores: list[TokenScore] = field(default_factory=list, repr=False)  # if asked for; with ends of sentences


@dataclass(frozen=True)
class Translation:
    """A line and its hypotheses, best score first, or its samples in the order they were drawn; at least one."""

    source: str
    hypotheses: list[TextHypothesis]

    @property
    def text(self) -> str:
        """The text of the first hypothesis."""
        return self.hypotheses[0].text

    @property
    def log_prob(self) -> float:
        """The log-probability of the first hypothesis."""
        return self.hypotheses[0].log_prob

    @property
    def score(self) -> float:
        """The score of the first hypothesis."""
        return self.hypotheses[0].score


def assemble(
    lines: Sequence[str],
    pieces: Sequence[Piece],
    found: Sequence[Sequence[Hypothesis]],
    tokenizer: Tokenizer,
    length_penalty: LengthPenalty,
    joined: int = 1,
) -> list[Translation]:
    """Build the translation of each line from the hypotheses `found` for its pieces.

    A line without pieces has an empty translation. If a line has several pieces, the first hypotheses of its pieces are
    joined, then the second ones, and so on, up to `joined` hypotheses; each is scored over its whole length.
    """
    by_line: list[list[list[TextHypothesis]]] = [[] for _ in lines]
    for piece, hypotheses in zip(pieces, found, strict=True):
        by_line[piece.line].append([_as_text(hypothesis, piece, tokenizer) for hypothesis in hypotheses])
    return [
        Translation(line, _answer(answers, length_penalty, joined))
        for line, answers in zip(lines, by_line, strict=True)
    ]


def about_unfinished(translations: Sequence[Translation], first_line: int) -> str | None:
    """Return a warning that lists the lines whose first hypothesis did not finish, or None if all did.

    Lines are counted from first_line.
    """
    unfinished = [line for line, one in enumerate(translations, start=first_line) if not one.hypotheses[0].finished]
    if not unfinished:
        return None
    numbers = ", ".join(map(str, unfinished[:10])) + (", ..." if len(unfinished) > 10 else "")
    counted = "translation" if len(unfinished) == 1 else "translations"
    return (
        f"{len(unfinished)} {counted} reached the maximum length before an end of sentence "
        f"(search.max_length_ratio, search.max_length_offset); lines: {numbers}"
    )


def text_of(tokens: Sequence[int], piece: Piece, tokenizer: Tokenizer, unknown: Sequence[str] = ()) -> str:
    """Return the text of a hypothesis: the prefix as it was given, followed by the text that the search added.

    The prefix is not decoded from its tokens, because the vocabulary may lack some of its characters. The added tokens
    are decoded as a continuation of the prefix, so their text begins with a space if they start a new word. That space
    is dropped if the prefix already ends with one. The words `unknown` replace the unknown tokens, if they are given.
    """
    if not piece.begun:
        return tokenizer.decode_target(tokens, unknown)
    length = len(piece.prefix)
    added = tokenizer.decode_after(tokens[:length], tokens[length:], unknown)
    ends_in_space = not normalise_whitespace(piece.begun[-1])
    return piece.begun + (added.removeprefix(" ") if ends_in_space else added)


def _as_text(hypothesis: Hypothesis, piece: Piece, tokenizer: Tokenizer) -> TextHypothesis:
    tokens = hypothesis.tokens
    text = text_of(tokens, piece, tokenizer, hypothesis.unknown)
    segment = Segment(piece.text, piece.ids, text, [*tokens, EOS] if hypothesis.finished else tokens)
    return TextHypothesis(text, hypothesis.log_prob, hypothesis.score, tokens, hypothesis.finished, [segment])


def _answer(answers: list[list[TextHypothesis]], length_penalty: LengthPenalty, joined: int) -> list[TextHypothesis]:
    """Return the hypotheses of a line, given the hypotheses of each of its pieces."""
    if not answers:
        return [TextHypothesis("", 0.0, 0.0, [])]
    if len(answers) == 1:
        return answers[0]
    return [_join(parts, length_penalty) for parts in list(zip(*answers, strict=False))[:joined]]


def _join(parts: Sequence[TextHypothesis], length_penalty: LengthPenalty) -> TextHypothesis:
    """Join one hypothesis per segment into a hypothesis of the line, scored over its whole length."""
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
