"""The contract of engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, get_args, runtime_checkable

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.errors import UsageError
from nmt.search.distribution import Sampling
from nmt.search.forced import Forced
from nmt.search.hypothesis import Hypothesis

EngineName = Literal["native", "ctranslate2"]
Rounded = Literal["fp16", "int8"]  # what CTranslate2 alone computes in
Precision = PRECISIONS | Rounded


def choose_engine(engine: EngineName | Literal["auto"], precision: Precision | None) -> EngineName:
    """Return the engine that computes in a precision: auto is ctranslate2 for fp16 and int8, else native.

    Raises UsageError for a name that is no engine's or no precision's, and for the native engine in fp16 or int8.
    """
    if engine not in ("auto", *get_args(EngineName)):
        raise UsageError(f"engine={engine!r} is neither auto nor {' nor '.join(get_args(EngineName))}")
    known = (*get_args(PRECISIONS), *get_args(Rounded))
    if precision is not None and precision not in known:
        raise UsageError(f"precision={precision!r} is none of {', '.join(known)}")
    rounded = precision in get_args(Rounded)
    if engine == "native" and rounded:
        raise UsageError(
            f"the native engine computes in fp32 and bf16: for {precision} choose the engine ctranslate2, or auto"
        )
    if engine == "auto":
        return "ctranslate2" if rounded else "native"
    return engine


class Engine(Protocol):
    """Source ids in, hypotheses out. Importing an engine may be slow; this contract needs nothing."""

    streams: int  # how many batches it searches side by side, each asked for by a thread of its own

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """While so many threads ask side by side: what each of them calls first."""
        ...

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError for options that it cannot search by."""
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
        In fp32 on a CPU the native engine finds the same whatever else is in the batch; CTranslate2's sums, and those
        of other precisions, depend on the batch. The engine computes as it was made to: options.precision and
        options.tokens_per_batch are for those who make it and its batches.
        """
        ...


@runtime_checkable
class FullEngine(Engine, Protocol):
    """An engine that draws translations, too, and says what given ones are worth."""

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

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[Forced]:
        """The log-probabilities of each target of a batch, ids with the end of sentence where it finished.

        Its score is that which `Engine.search` has for a hypothesis of these ids, without a shortlist.
        """
        ...
