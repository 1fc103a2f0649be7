"""Minimum Bayes risk decoding: among several samples, choose the one most similar to all the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from nmt.data.tokenizer import Tokenizer
from nmt.extras import import_extra
from nmt.inference.hypotheses import text_of
from nmt.inference.pieces import Piece
from nmt.search.hypothesis import Hypothesis

Utility = Callable[[list[list[str]], list[list[str]]], list[list[list[float]]]]  # [batch][hypothesis][reference]


def pairwise_chrf() -> Utility:
    """Return a function that computes the sentence-level chrF (Popovic 2015) of all hypotheses against all references.

    Its values are those of sacreBLEU. Raises NmtError if the extra `mbr` is not installed.
    """
    utility: Utility = import_extra("fastchrf", "mbr").pairwise_chrf
    return utility


def choose(samples: Sequence[str], utility: Utility) -> int:
    """Return the index of the sample with the highest expected utility, the first one on a tie (Eikema & Aziz 2020).

    The expected utility of a sample is its mean utility when each of the samples, itself included, is taken as the
    reference in turn. If the samples are drawn from the model's own distribution, this mean is an unbiased estimate of
    the expectation under the model.
    """
    # equal samples are compared once and counted; a Counter keeps the order of first appearance
    counts = Counter(samples)
    candidates = list(counts)
    (utilities,) = utility([candidates], [candidates])
    expected = np.array(utilities) @ np.array(list(counts.values()))
    return samples.index(candidates[int(expected.argmax())])


def choose_for_pieces(
    pieces: Sequence[Piece], samples: Sequence[Sequence[Hypothesis]], tokenizer: Tokenizer, utility: Utility
) -> list[list[Hypothesis]]:
    """Return the sample of each piece that `choose` picks by their texts, in a list of one."""
    chosen = []
    for piece, drawn in zip(pieces, samples, strict=True):
        texts = [text_of(one.tokens, piece, tokenizer, one.unknown) for one in drawn]
        chosen.append([drawn[choose(texts, utility)]])
    return chosen
