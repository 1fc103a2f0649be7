"""Samples of pieces, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable

from nmt.config.schema import SearchConfig
from nmt.engines.engine import Engine, SamplingEngine
from nmt.errors import UsageError
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis
from nmt.translation.pieces import Piece, in_batches, prefixes_of


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
    if not isinstance(engine, SamplingEngine):
        raise UsageError("this engine only searches: sampling takes the native one")
    if samples < 1:
        raise UsageError(f"{samples} samples cannot be drawn: ask for 1 or more")

    def draw(batch: list[Piece]) -> list[list[Hypothesis]]:
        keys = [(first_line + piece.line, piece.segment) for piece in batch]
        return engine.sample([piece.ids for piece in batch], options, sampling, samples, keys, prefixes_of(batch))

    return in_batches(draw, engine, pieces, options.tokens_per_batch // samples, progress)
