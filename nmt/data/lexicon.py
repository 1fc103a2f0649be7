"""Translation probabilities of tokens by IBM model 1 (Brown et al. 1993, section 4.1), and counts of target tokens.

Every source sentence ends with EOS, which takes the role of the paper's empty word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.store import Ids, Store

ITERATIONS = 5
_MOST_LINKS = 100_000_000  # the most links that a lexicon is learned from; each takes four bytes of memory
_LINKS_AT_ONCE = 2_000_000  # links per block

IdPair = tuple[Ids, Ids]  # the ids of a source sentence and of its target sentence
Integers = NDArray[np.int64]


class Lexicon(NamedTuple):
    """Translation probabilities t(target | source) of all source and target tokens that occur together in a pair.

    Entries are sorted by source id, then by target id.
    """

    sources: Integers  # [entries]
    targets: Integers  # [entries]
    probabilities: NDArray[np.float64]  # [entries]; the probabilities of each source id sum to one

    def likely(self, least: float) -> Lexicon:
        """Return the entries with a probability of at least `least`."""
        kept = self.probabilities >= least
        return Lexicon(self.sources[kept], self.targets[kept], self.probabilities[kept])

    def best(self, count: int, source_size: int, filler: int) -> Integers:
        """Return the `count` most probable targets of each source id [source_size, count]; on a tie the lower id wins.

        Rows with fewer targets are filled up with `filler`.
        """
        chosen, rank = ranked(self.sources, self.probabilities, count)
        table = np.full((source_size, count), filler, dtype=np.int64)
        table[self.sources[chosen], rank] = self.targets[chosen]
        return table


def ranked(groups: Integers, scores: NDArray[np.float64], count: int) -> tuple[Integers, Integers]:
    """Return the indices of the entries with the `count` highest scores in each group, and their ranks in the group.

    On a tie the earlier entry wins.
    """
    order = np.lexsort((-scores, groups))  # a stable sort
    of_order = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(of_order, of_order)
    kept = rank < count
    return order[kept], rank[kept]


class _Links(NamedTuple):
    """The links of a block of pairs: one from each target token to every token of its source sentence."""

    entries: NDArray[np.integer]  # [links], indices in the lexicon; the links of a target token are consecutive
    sizes: Integers  # [target tokens], the number of links of each token


def learn_lexicon(pairs: Sequence[IdPair], iterations: int = ITERATIONS) -> Lexicon:
    """Learn a lexicon with the EM algorithm, starting from uniform probabilities; the result is deterministic."""
    width = 1 + max((int(target.max()) for _, target in pairs), default=0)
    known = np.empty(0, dtype=np.int64)
    for links in _blocks(pairs, width):
        known = np.union1d(known, links.entries)
    blocks = [
        links._replace(entries=np.searchsorted(known, links.entries).astype(np.int32))
        for links in _blocks(pairs, width)
    ]
    sources, targets = known // width, known % width
    probabilities = np.ones(len(known))
    for _ in range(iterations):
        counts = np.zeros(len(known))
        for links in blocks:
            shares = probabilities[links.entries]
            starts = np.cumsum(links.sizes) - links.sizes
            shares /= np.repeat(np.add.reduceat(shares, starts), links.sizes)
            counts += np.bincount(links.entries, shares, minlength=len(known))
        probabilities = counts / np.bincount(sources, counts)[sources]
    return Lexicon(sources, targets, probabilities)


def pairs_to_learn_from(store: Store, log: Callable[[str], None], most_links: int = _MOST_LINKS) -> list[IdPair]:
    """Return the pairs of `rows_to_learn_from` as ids; each sentence ends with EOS."""
    return [(store.source(row), store.target(row)) for row in rows_to_learn_from(store, log, most_links)]


def rows_to_learn_from(store: Store, log: Callable[[str], None], most_links: int = _MOST_LINKS) -> range:
    """Return the rows that a lexicon is learned from: all rows of a store or, if it has too many links, every n-th.

    Each target token of a pair has a link to every source token of the pair. If all pairs together have more than
    `most_links` links, n is chosen so that about that many remain at most. A message about this is passed to `log`.
    """
    links = int(store.source_lengths.astype(np.int64) @ store.target_lengths)
    stride = max(1, -(-links // most_links))
    log(f"learning from {'all' if stride == 1 else f'1 in {stride}'} of {len(store):,} pairs")
    return range(0, len(store), stride)


def target_counts(store: Store, target_size: int) -> Integers:
    """Count how often each target id occurs in a store [target_size]."""
    counts = np.zeros(target_size, dtype=np.int64)
    for rows in store.blocks():
        counts += np.bincount(store.ids("target", rows).values, minlength=target_size)
    return counts


def _blocks(pairs: Sequence[IdPair], width: int) -> Iterator[_Links]:
    """Yield the links of all pairs in blocks of about _LINKS_AT_ONCE links.

    Entries have no index yet; each is represented by source id * width + target id.
    """
    entries: list[Integers] = []
    sizes: list[Integers] = []
    held = 0
    for source, target in pairs:
        entries.append((source.astype(np.int64) * width + target.astype(np.int64)[:, None]).ravel())
        sizes.append(np.full(len(target), len(source)))
        held += len(source) * len(target)
        if held >= _LINKS_AT_ONCE:
            yield _Links(np.concatenate(entries), np.concatenate(sizes))
            entries, sizes, held = [], [], 0
    if entries:
        yield _Links(np.concatenate(entries), np.concatenate(sizes))
