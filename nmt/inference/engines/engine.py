"""The interface of search engines, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.errors import UsageError
from nmt.search.distribution import Sampling
from nmt.search.forced import Forced
from nmt.search.hypothesis import Hypothesis

EngineName = Literal["native", "ctranslate2"]
Rounded = Literal["fp16", "int8"]  # precisions that only CTranslate2 has
Precision = PRECISIONS | Rounded


def choose_engine(engine: EngineName | Literal["auto"], precision: Precision | None) -> EngineName:
    """Return the engine to use for a precision; "auto" means ctranslate2 for fp16 and int8, otherwise native.

    Raises UsageError for an unknown engine or precision, and for the native engine with fp16 or int8.
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
    """The interface of a search engine: source ids in, hypotheses out.

    This module imports quickly; the modules of the engines import torch or CTranslate2.
    """

    streams: int  # number of batches that can be searched in parallel, each requested by a thread of its own

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """Prepare for `streams` threads that search in parallel during the block.

        Yields a function that each thread calls once before its first request.
        """
        ...

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError if the engine does not support these search options."""
        ...

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return up to n_best hypotheses, best score first, for each sentence of a batch.

        Source ids include the end of sentence, prefixes do not. The hypotheses of a sentence begin with its prefix, if
        there is one. With the native engine in fp32 on a CPU, a result does not depend on the rest of the batch; with
        CTranslate2 or in other precisions, rounding can differ from batch to batch. options.tokens_per_batch is for the
        caller, who makes the batches. CTranslate2 ignores options.precision: its precision is fixed at loading.
        """
        ...


@runtime_checkable
class FullEngine(Engine, Protocol):
    """An engine that can also draw samples and score given translations."""

    def sample(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        sampling: Sampling,
        samples: int,
        keys: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Draw `samples` translations of each sentence in a batch; they begin with its prefix, if there is one.

        The samples of a sentence depend only on `sampling` (which includes the seed), the sentence, its prefix and its
        key: a sequence of non-negative integers.
        """
        ...

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[Forced]:
        """Return the log-probabilities of each target in a batch; target ids include the end of sentence if finished.

        The score of a target equals the score that `Engine.search` without a shortlist gives to the same hypothesis.
        """
        ...

    def attention(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[NDArray[np.float32]]:
        """Return the attention weights [target tokens, source tokens] of each target in a batch.

        Row t has the weights with which token t is predicted, averaged over layers, heads and the models of an
        ensemble. The model must have attention.
        """
        ...
