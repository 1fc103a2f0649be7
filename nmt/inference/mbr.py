"""Minimum Bayes risk decoding: of several samples, the one that is most like all the others."""

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
    """chrF (Popovic 2015) of every hypothesis against every reference, as sacreBLEU has it of a sentence.

    Raises NmtError where the extra `mbr` is not installed.
    """
    utility: Utility = import_extra("fastchrf", "mbr").pairwise_chrf
    return utility


def choose(samples: Sequence[str], utility: Utility) -> int:
    """The place of the sample of the highest expected utility, the first of equals (Eikema & Aziz 2020).

    The expectation is the mean of its utility over all samples, itself included, as if each were the reference. It
    estimates that under the model without bias if the samples are from the model's own distribution.
    """
    counts = Counter(samples)  # in the order of their first appearance
    candidates = list(counts)
    (utilities,) = utility([candidates], [candidates])
    expected = np.array(utilities) @ np.array(list(counts.values()))
    return samples.index(candidates[int(expected.argmax())])


def choose_for_pieces(
    pieces: Sequence[Piece], samples: Sequence[Sequence[Hypothesis]], tokenizer: Tokenizer, utility: Utility
) -> list[list[Hypothesis]]:
    """The sample of each piece that `choose` takes, by their texts."""
    chosen = []
    for piece, drawn in zip(pieces, samples, strict=True):
        texts = [text_of(one.tokens, piece, tokenizer) for one in drawn]
        chosen.append([drawn[choose(texts, utility)]])
    return chosen
