"""Reading and writing word alignments in Pharaoh format, and their error rate against gold links (Och & Ney 2003)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nmt.data.compression import read_lines
from nmt.errors import NmtError
from nmt.inference.word_attention import Link

_LINK = re.compile(r"(\d+)([-?p])(\d+)")


class Gold(NamedTuple):
    """The gold links of one sentence: those that annotators were sure of, and all possible ones (sure ones included).

    A link is a pair of a source and a target word index, both from 0.
    """

    sure: frozenset[Link]
    possible: frozenset[Link]


@dataclass(frozen=True)
class AlignmentScores:
    """The scores of an alignment over all sentences together (Och & Ney 2003, eq. 5-7), each from 0 to 1."""

    aer: float  # alignment error rate; lower is better
    precision: float
    recall: float
    links: int  # number of links that were scored
    sentences: int  # number of sentence pairs


def format_links(links: Iterable[Link]) -> str:
    """Format links as one line in Pharaoh format, in ascending order: 0-0 1-2."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def parse_links(line: str) -> Gold:
    """Parse one line in Pharaoh format: 3-4 is a sure link, 3?4 (or 3p4) is only possible.

    Raises ValueError, naming the token, for anything else.
    """
    sure: set[Link] = set()
    possible: set[Link] = set()
    for token in line.split():
        if (match := _LINK.fullmatch(token)) is None:
            raise ValueError(f"{token!r} is not a link such as 3-4 (sure) or 3?4 (possible)")
        link = (int(match[1]), int(match[3]))
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def read_gold(path: str | Path) -> list[Gold]:
    """Read a file of gold links, one sentence per line."""
    alignments = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            alignments.append(parse_links(line))
        except ValueError as error:
            raise NmtError(f"{path}, line {number}: {error}") from error
    return alignments


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
        for link in sorted(alignment.possible):
            for side, index, count in zip(("source", "target"), link, counts, strict=True):
                if index >= count:
                    raise NmtError(
                        f"{path}, line {number}: the link {link[0]}-{link[1]} names {side} word {index}, but that "
                        f"sentence has {count} words (counted from 0): is the text tokenised like that of the gold "
                        "links?"
                    )


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
