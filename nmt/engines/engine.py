"""The contract of engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nmt.config.schema import SearchConfig
from nmt.search.hypothesis import Hypothesis


class Engine(Protocol):
    """Source ids in, hypotheses out. Importing an engine may be slow; this contract needs nothing."""

    def search(self, sources: Sequence[Sequence[int]], options: SearchConfig, n_best: int) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses, best score first, of each sentence of a batch (ids with the end of sentence).

        What is found for a sentence does not depend on the others. The engine computes as it was made to;
        options.precision and options.tokens_per_batch are for those who make it and its batches.
        """
        ...
