"""Choose what a validation translates and draws: which sentences, how long at most, and from which loss on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from nmt.config.schema import SearchConfig
from nmt.data.store import Store

HEATMAPS = 2  # sentences whose attention is shown
_HEATMAP_TOKENS = 40  # longer sentences are not chosen while there are others
_KEPT_TO = 0.999  # the share of training pairs that keep to the bound on lengths


def spread(length: int, count: int) -> Sequence[int]:
    """Return up to `count` indices spread evenly over range(length)."""
    return [length * index // count for index in range(count)] if length >= count else range(length)


def spread_over_each(corpora: Sequence[int], count: int | None) -> list[int]:
    """Return the rows of `count` sentences of each corpus, spread evenly over it; None: of all sentences.

    `corpora` has the number of sentences of each.
    """
    starts = accumulate(corpora, initial=0)
    return [
        start + row
        for start, size in zip(starts, corpora, strict=False)
        for row in (range(size) if count is None else spread(size, count))
    ]


def drawn(val: Store) -> list[int]:
    """Return the rows of those sentences whose attention is shown: ones that fit a picture, spread over the set."""
    lengths = np.maximum(val.source_lengths, val.target_lengths)
    fitting = np.flatnonzero(lengths <= _HEATMAP_TOKENS)
    if not len(fitting):
        fitting = np.argsort(lengths, kind="stable")[:HEATMAPS]
    return [int(fitting[index]) for index in spread(len(fitting), HEATMAPS)]


def length_ratio(train: Store, offset: int) -> float:
    """Return the ratio r with which 99.9% of training pairs have at most r * source tokens + offset target tokens."""
    ratios = (train.target_lengths.astype(np.float64) - offset) / np.maximum(train.source_lengths, 1)
    return float(np.quantile(ratios, _KEPT_TO, method="higher"))


def validation_search(search: SearchConfig, beam_size: int, ratio: float | None) -> SearchConfig:
    """Return the search of a validation: the configured one with another beam, and lengths that the text has.

    A model that knows little repeats itself up to the longest translation allowed. `ratio` is what `length_ratio` found
    for search.max_length_offset; None, and one above search.max_length_ratio, leave the lengths as configured.
    """
    longest = search.max_length_ratio if ratio is None else min(ratio, search.max_length_ratio)
    return dataclasses.replace(
        search,
        beam_size=beam_size,
        max_length_ratio=max(longest, search.min_length_ratio),
        shortlist=False,  # one is made after training
    )


def unigram_entropy(val: Store, vocabulary: int) -> float:
    """Return the loss, in nats per token, of a model that knows how frequent each target token is, and nothing else.

    The frequencies are those of the validation set, one added to each count, so that a set of a few sentences, which
    hardly repeat a token, does not look easy.
    """
    counts = np.bincount(val.ids("target", range(len(val))).values, minlength=vocabulary)
    shares = (counts + 1) / (counts.sum() + vocabulary)
    return float(-(counts * np.log(shares)).sum() / counts.sum())
