"""The contract of engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.search.distribution import Sampling
from nmt.search.forced import Forced
from nmt.search.hypothesis import Hypothesis

# on a CPU fp16: weights in 16 bits, multiplied in fp32; int8: products in whole numbers
Precision = PRECISIONS | Literal["fp16", "int8"]


class Engine(Protocol):
    """Source ids in, hypotheses out. Importing an engine may be slow; this contract needs nothing."""

    streams: int  # how many batches it searches side by side, each asked for by a thread of its own

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """While so many threads ask side by side: what each of them calls first."""
        ...

    def adopt(self, options: SearchConfig) -> SearchConfig:
        """The options that a search is then given: another engine's own rules in place of those it does not have.

        Raises NmtError for what it cannot do.
        """
        ...

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses, best score first, of each sentence of a batch (ids with the end of sentence).

        Each hypothesis begins with the sentence's prefix (ids without the end of sentence), where there are prefixes.
        What is found for a sentence does not depend on the others. The engine computes as it was made to;
        options.precision and options.tokens_per_batch are for those who make it and its batches.
        """
        ...


@runtime_checkable
class SamplingEngine(Protocol):
    """An engine that draws translations, too."""

    def sample(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        sampling: Sampling,
        samples: int,
        keys: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """So many samples of each sentence of a batch, each beginning with its prefix.

        What is drawn follows from sampling (its seed with it), the sentence and its key, whole numbers from 0, alone.
        """
        ...


@runtime_checkable
class ScoringEngine(Protocol):
    """An engine that says what given translations are worth, too."""

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[Forced]:
        """The log-probabilities of each target of a batch, ids with the end of sentence where it finished.

        Its score is that which `Engine.search` has for a hypothesis of these ids, without a shortlist.
        """
        ...
