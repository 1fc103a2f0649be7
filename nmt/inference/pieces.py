"""Lines as ids, in segments where they are longer than a model was trained for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from nmt.config.schema import SearchConfig
from nmt.data.characters import as_line
from nmt.data.cleaning import normalise_whitespace
from nmt.data.tokenizer import Tokenizer
from nmt.errors import UsageError
from nmt.inference.batches import batches, side_by_side
from nmt.inference.engines.engine import Engine, FullEngine
from nmt.inference.segment import split_to_fit
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis


class Piece(NamedTuple):
    """What is searched for at once: a line or, where it is too long, a segment of it."""

    line: int  # place in the input, from 0
    segment: int  # place in the line, from 0
    text: str
    ids: list[int]  # source ids with the tag, if there is one, and the end of sentence
    prefix: list[int]  # target ids that the translation begins with
    begun: str = ""  # the text that they stand for, as it was given


def pieces_of(
    lines: Sequence[str],
    tokenizer: Tokenizer,
    max_tokens: int,
    language: str,
    warn: Callable[[str], None],
    first_line: int = 1,
    prefixes: Sequence[str] | None = None,
    tags: Sequence[str | None] | None = None,
) -> list[Piece]:
    """Every line that says something, in segments where it has more source tokens than max_tokens.

    Tokens are counted with the end of sentence and the tag, which each segment has; `warn` is told of such lines,
    counted from first_line. A line's prefix is that of its first segment.
    """
    pieces = []
    said = [index for index, line in enumerate(lines) if line.strip()]
    given = [""] * len(said) if prefixes is None else [_asked(prefixes[index]) for index in said]
    asked = [normalise_whitespace(prefix) for prefix in given]
    encoded = tokenizer.encode_source([lines[index] for index in said])
    for index, ids, begun, (*prefix, _) in zip(said, encoded, given, tokenizer.encode_target(asked), strict=True):
        segments, of_segments = [lines[index]], [ids]
        tag = tokenizer.tag_ids(tags[index] if tags is not None else None)
        room = max_tokens - len(tag)
        if len(ids) > room:
            segments = split_to_fit(lines[index], partial(_fits, tokenizer, room), language)
            of_segments = tokenizer.encode_source(segments)
            warn(
                f"line {first_line + index} has {len(tag) + len(ids)} tokens, more than the {max_tokens} the model was "
                f"trained for: it is translated in {len(segments)} segments"
            )
        for number, (text, segment) in enumerate(zip(segments, of_segments, strict=True)):
            if len(segment) > 1:  # the tokenizer finds something in it
                pieces.append(Piece(index, number, text, [*tag, *segment], prefix, begun))
                prefix, begun = [], ""
    return pieces


def in_batches(
    answer: Callable[[list[Piece]], list[list[Hypothesis]]],
    engine: Engine,
    pieces: list[Piece],
    budget: int,
    progress: Callable[[int], None] | None,
) -> list[list[Hypothesis]]:
    """What `answer`, by the engine, says to each piece, asked in batches of at most `budget` padded tokens.

    Where that is little text for the engine's streams, batches are smaller, so that each stream has some of it.
    """
    found: list[list[Hypothesis]] = [[] for _ in pieces]
    lengths = [len(piece.ids) for piece in pieces]
    order = list(batches(lengths, min(budget, math.ceil(sum(lengths) / engine.streams))))
    streams = max(1, min(engine.streams, len(order)))
    with engine.sharing(streams) as begin:
        answers = side_by_side(answer, [[pieces[index] for index in batch] for batch in order], streams, begin)
        to_come = Counter(piece.line for piece in pieces)
        for batch, answered in zip(order, answers, strict=True):
            for index, hypotheses in zip(batch, answered, strict=True):
                found[index] = hypotheses
            of_lines = Counter(pieces[index].line for index in batch)
            to_come -= of_lines
            if progress is not None:
                progress(sum(line not in to_come for line in of_lines))
    return found


def sample_pieces(
    engine: Engine,
    pieces: list[Piece],
    samples: int,
    sampling: Sampling,
    options: SearchConfig,
    first_line: int,
    progress: Callable[[int], None] | None,
) -> list[list[Hypothesis]]:
    """Draw samples of each piece; its random numbers are those of the line's number and the segment's place."""
    if not isinstance(engine, FullEngine):
        raise UsageError("this engine only searches: sampling takes the native one")
    if samples < 1:
        raise UsageError(f"{samples} samples cannot be drawn: ask for 1 or more")

    def draw(batch: list[Piece]) -> list[list[Hypothesis]]:
        keys = [(first_line + piece.line, piece.segment) for piece in batch]
        return engine.sample([piece.ids for piece in batch], options, sampling, samples, keys, prefixes_of(batch))

    return in_batches(draw, engine, pieces, options.tokens_per_batch // samples, progress)


def prefixes_of(pieces: list[Piece]) -> list[list[int]] | None:
    """What the hypotheses of each piece begin with; None where nothing is asked of any."""
    prefixes = [piece.prefix for piece in pieces]
    return prefixes if any(prefixes) else None


def _asked(prefix: str) -> str:
    """A prefix as a line of text; one of nothing but white space asks for nothing."""
    line = as_line(prefix)
    return line if normalise_whitespace(line) else ""


def _fits(tokenizer: Tokenizer, room: int, text: str) -> bool:
    return len(tokenizer.encode_source([text])[0]) <= room
