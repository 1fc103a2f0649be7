"""The error rate of word alignments against gold links (Och & Ney 2003)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.data.alignments import Gold, Link, check_links
from nmt.errors import NmtError


@dataclass(frozen=True)
class AlignmentScores:
    """The scores of an alignment over all sentences together (Och & Ney 2003), each from 0 to 1."""

    aer: float  # alignment error rate; lower is better
    precision: float
    recall: float
    links: int  # number of links that were scored
    sentences: int  # number of sentence pairs


def check_count(gold: Sequence[Gold], pairs: int, path: str | Path) -> None:
    """Raise NmtError if the number of lines of gold links differs from the number of sentence pairs."""
    if len(gold) != pairs:
        raise NmtError(f"{path} has {len(gold):,} lines of gold links for {pairs:,} sentence pairs")


def check_gold(gold: Sequence[Gold], words: Sequence[tuple[int, int]], path: str | Path) -> None:
    """Raise NmtError if a gold link points to a word that its sentence does not have.

    `words` holds the number of source words and of target words of each sentence.
    """
    check_count(gold, len(words), path)
    for number, (alignment, counts) in enumerate(zip(gold, words, strict=True), start=1):
        check_links(alignment.possible, counts, f"{path}, line {number}")


def alignment_scores(alignments: Sequence[Iterable[Link]], gold: Sequence[Gold]) -> AlignmentScores:
    """Score the links A of each sentence against its sure (S) and possible (P) gold links.

    AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), precision = |A ∩ P| / |A| and recall = |A ∩ S| / |S|.
    """
    found = in_sure = in_possible = sure = 0
    for links, truth in zip(alignments, gold, strict=True):
        proposed = set(links)
        found += len(proposed)
        sure += len(truth.sure)
        in_sure += len(proposed & truth.sure)
        in_possible += len(proposed & truth.possible)
    if not sure:
        raise NmtError("the gold alignment has no sure links: there is nothing to score against")
    return AlignmentScores(
        aer=1 - (in_sure + in_possible) / (found + sure),
        precision=in_possible / found if found else 0.0,
        recall=in_sure / sure,
        links=found,
        sentences=len(gold),
    )
