"""Which target tokens follow which others, by n-grams.

An n-gram's context of one to three ids, the latest last, is packed into one integer: 20 bits each behind a leading 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.lexicon import Integers, ranked
from nmt.data.store import Ids

ORDER = 3  # ids in the longest contexts
_BITS = 20
_LEAST = 2  # times that a context of more than one id was seen
_MOST_CONTEXTS = 250_000  # of each length
_TRUST = 3.0  # how often a context must have been seen to count as much as the shorter one


class Continuations(NamedTuple):
    """The most probable tokens after each context, of equals the lower id first."""

    contexts: Integers  # [contexts] packed
    tokens: Integers  # [contexts, best]
    probabilities: NDArray[np.float64]  # [contexts, best]; 0 where there are fewer


def pack(ids: Sequence[int]) -> int:
    """A context as an integer."""
    packed = 1
    for id in ids:
        packed = packed << _BITS | id
    return packed


def learn_continuations(targets: Sequence[Ids], best: int, bos: int) -> Continuations:
    """The `best` continuations of all contexts in sentences that end with their end of sentence.

    Probabilities p(token | context) are interpolated with those of the context without its earliest id, which have the
    weight trust / (trust + times the context was seen) (Bell, Cleary and Witten 1990, with a constant trust). Of
    contexts seen once, only those of one id are kept.
    """
    start = np.full(ORDER, bos, dtype=np.int64)
    stream = np.concatenate([part for target in targets for part in (start, target)] or [start]).astype(np.int64)
    assert int(stream.max()) < 1 << _BITS, f"ids have more than {_BITS} bits"
    places = np.repeat(np.cumsum([len(target) + ORDER for target in targets], dtype=np.int64), list(map(len, targets)))
    within = np.concatenate([np.arange(-len(target), 0) for target in targets] or [start[:0]])
    places += within
    tables: list[Continuations] = []
    least = 1
    for order in range(1, ORDER + 1):
        packed = np.ones(len(places), dtype=np.int64)
        for back in range(order, 0, -1):
            packed = packed << _BITS | stream[places - back]
        shorter = tables[-1] if tables else None
        table, least = _of_order(packed, stream[places], order, shorter, best, least)
        tables.append(table)
    contexts, tokens, probabilities = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    return Continuations(contexts, tokens, probabilities)


def _of_order(
    packed: Integers, tokens: Integers, order: int, shorter: Continuations | None, best: int, least: int
) -> tuple[Continuations, int]:
    """The continuations of contexts of one length, each given with a token after it, and how often the kept were seen.

    `least` is that of the shorter contexts, among which each one's own has to be.
    """
    contexts, index, seen = np.unique(packed, return_inverse=True, return_counts=True)
    if shorter is not None:
        rarest = np.sort(seen)[-_MOST_CONTEXTS - 1] + 1 if len(seen) > _MOST_CONTEXTS else _LEAST
        least = max(least, int(rarest))
    kept = np.flatnonzero(seen >= least)
    number = np.full(len(contexts), -1)
    number[kept] = np.arange(len(kept))
    contexts, seen, of_token = contexts[kept], seen[kept], number[index]
    width = int(tokens.max(initial=0)) + 1
    pairs, counts = np.unique((of_token * width + tokens)[of_token >= 0], return_counts=True)
    of_pair = pairs // width
    trust = 0.0 if shorter is None else _TRUST
    shares = counts / (seen + trust)[of_pair]
    if shorter is not None:
        rows = np.searchsorted(shorter.contexts, _without_earliest(contexts, order))
        others = np.arange(len(contexts))[:, None] * width + shorter.tokens[rows]
        weighted = shorter.probabilities[rows] * (trust / (seen + trust))[:, None]
        pairs, inverse = np.unique(np.concatenate([pairs, others.ravel()]), return_inverse=True)
        shares = np.bincount(inverse, np.concatenate([shares, weighted.ravel()]))
        of_pair = pairs // width
    chosen, rank = ranked(of_pair, shares, best)
    table = np.zeros((len(contexts), best), dtype=np.int64)
    probabilities = np.zeros((len(contexts), best))
    table[of_pair[chosen], rank] = pairs[chosen] % width
    probabilities[of_pair[chosen], rank] = shares[chosen]
    return Continuations(contexts, table, probabilities), least


def _without_earliest(contexts: Integers, order: int) -> Integers:
    """Contexts of `order` ids as those of one less."""
    bits = _BITS * (order - 1)
    return contexts & ((1 << bits) - 1) | 1 << bits
