"""Choose what a validation translates and plots: the sentences, the maximum length, and the loss that is required."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from nmt.config.schema import SearchConfig
from nmt.data.store import Store

HEATMAPS = 2  # number of sentences whose attention is plotted
_HEATMAP_TOKENS = 40  # longer sentences are plotted only if there are no shorter ones
_KEPT_TO = 0.999  # fraction of training pairs whose lengths are within the bound


def spread(length: int, count: int) -> Sequence[int]:
    """Return up to `count` indices spread evenly over range(length)."""
    return [length * index // count for index in range(count)] if length >= count else range(length)


def spread_over_each(corpora: Sequence[int], count: int | None) -> list[int]:
    """Return the rows of `count` sentences of each corpus, spread evenly over the corpus; all rows if count is None.

    `corpora` holds the number of sentences of each corpus.
    """
    starts = accumulate(corpora, initial=0)
    return [
        start + row
        for start, size in zip(starts, corpora, strict=False)
        for row in (range(size) if count is None else spread(size, count))
    ]


def drawn(val: Store) -> list[int]:
    """Return the rows of the sentences whose attention is plotted: short enough for a plot, spread over the set."""
    lengths = np.maximum(val.source_lengths, val.target_lengths)
    fitting = np.flatnonzero(lengths <= _HEATMAP_TOKENS)
    if not len(fitting):
        fitting = np.argsort(lengths, kind="stable")[:HEATMAPS]
    return [int(fitting[index]) for index in spread(len(fitting), HEATMAPS)]


def length_ratio(train: Store, offset: int) -> float:
    """Return the ratio r so that 99.9% of training pairs have at most r * source tokens + offset target tokens."""
    ratios = (train.target_lengths.astype(np.float64) - offset) / np.maximum(train.source_lengths, 1)
    return float(np.quantile(ratios, _KEPT_TO, method="higher"))


def validation_search(search: SearchConfig, beam_size: int, ratio: float | None) -> SearchConfig:
    """Return the search settings of a validation: the configured ones with another beam size and shorter translations.

    Translations are limited to the lengths in the training text, because an undertrained model repeats itself up to the
    maximum length. `ratio` is the result of `length_ratio` for search.max_length_offset. If it is None or above
    search.max_length_ratio, the maximum length stays as configured.
    """
    longest = search.max_length_ratio if ratio is None else min(ratio, search.max_length_ratio)
    return dataclasses.replace(
        search,
        beam_size=beam_size,
        max_length_ratio=max(longest, search.min_length_ratio),
        # a shortlist and a dictionary are made only after training
        shortlist=False,
        replace_unknown="copy" if search.replace_unknown == "dictionary" else search.replace_unknown,
    )


def unigram_entropy(val: Store, vocabulary: int) -> float:
    """Return the loss, in nats per token, of a model that knows only the frequency of each target token.

    The frequencies are counted in the validation set, with one added to each count. Otherwise a set of a few sentences,
    which hardly repeat any token, would look easy.
    """
    counts = np.bincount(val.ids("target", range(len(val))).values, minlength=vocabulary)
    shares = (counts + 1) / (counts.sum() + vocabulary)
    return float(-(counts * np.log(shares)).sum() / counts.sum())
