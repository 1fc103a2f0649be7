"""Encoding of lines as token ids; lines longer than the model was trained for are split into segments."""

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
    """The source text of one search: a line or, if the line is too long, one segment of it."""

    line: int  # index of the line in the input, from 0
    segment: int  # index of the segment in the line, from 0
    text: str
    ids: list[int]  # source ids with the tag, if there is one, and the end of sentence
    prefix: list[int]  # target ids that the translation has to begin with
    begun: str = ""  # the text of the prefix, as it was given


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
    """Return the pieces of all lines that are not blank; a line of more than max_tokens source tokens is split.

    Tokens are counted with the end of sentence and the tag, which every segment gets. `warn` is called with a sentence
    about each line that is split, with lines counted from first_line. The prefix of a line goes to its first segment.
    """
    pieces = []
    filled = [index for index, line in enumerate(lines) if line.strip()]
    given = [""] * len(filled) if prefixes is None else [_as_prefix(prefixes[index]) for index in filled]
    to_encode = [normalise_whitespace(prefix) for prefix in given]
    encoded = tokenizer.encode_source([lines[index] for index in filled])
    for index, ids, begun, (*prefix, _) in zip(filled, encoded, given, tokenizer.encode_target(to_encode), strict=True):
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
            if len(segment) > 1:  # more than the end of sentence
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
    """Call `answer` for batches of pieces and return the hypotheses of each piece, in the order of the pieces.

    A batch has at most `budget` padded tokens, and fewer if otherwise some of the engine's parallel streams would have
    no work. `progress` is called after each batch with the number of lines whose last piece was in it.
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
    engine: FullEngine,
    pieces: list[Piece],
    samples: int,
    sampling: Sampling,
    options: SearchConfig,
    first_line: int,
    progress: Callable[[int], None] | None,
) -> list[list[Hypothesis]]:
    """Draw `samples` translations of each piece, with random numbers that depend on its line number and segment."""
    if samples < 1:
        raise UsageError(f"{samples} samples cannot be drawn: ask for 1 or more")

    def draw(batch: list[Piece]) -> list[list[Hypothesis]]:
        keys = [(first_line + piece.line, piece.segment) for piece in batch]
        return engine.sample([piece.ids for piece in batch], options, sampling, samples, keys, prefixes_of(batch))

    return in_batches(draw, engine, pieces, options.tokens_per_batch // samples, progress)


def prefixes_of(pieces: list[Piece]) -> list[list[int]] | None:
    """Return the prefix ids of each piece, or None if no piece has a prefix."""
    prefixes = [piece.prefix for piece in pieces]
    return prefixes if any(prefixes) else None


def _as_prefix(prefix: str) -> str:
    """Return a prefix with its control characters replaced by spaces, or "" if it is blank."""
    line = as_line(prefix)
    return line if normalise_whitespace(line) else ""


def _fits(tokenizer: Tokenizer, room: int, text: str) -> bool:
    return len(tokenizer.encode_source([text])[0]) <= room
