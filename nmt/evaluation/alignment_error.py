"""Word alignments in Pharaoh format and their error rate against gold links (Och & Ney 2003)."""

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
    """The links annotators were sure of, and all they found possible (which include the sure ones)."""

    sure: frozenset[Link]
    possible: frozenset[Link]


@dataclass(frozen=True)
class AlignmentScores:
    """Och & Ney 2003, eq. 5-7, over all sentences together; each from 0 to 1, a lower AER is better."""

    aer: float
    precision: float
    recall: float
    links: int
    sentences: int


def format_links(links: Iterable[Link]) -> str:
    """Links as one Pharaoh line: 0-0 1-2, in order."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def parse_links(line: str) -> Gold:
    """The links of one Pharaoh line: 3-4 is sure, 3?4 (or 3p4) only possible. ValueError names what is neither."""
    sure: set[Link] = set()
    possible: set[Link] = set()
    for token in line.split():
        if (match := _LINK.fullmatch(token)) is None:
            raise ValueError(f"{token!r} is no link such as 3-4 (sure) or 3?4 (possible)")
        link = (int(match[1]), int(match[3]))
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def read_gold(path: str | Path) -> list[Gold]:
    """Read gold links, one sentence a line."""
    alignments = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            alignments.append(parse_links(line))
        except ValueError as error:
            raise NmtError(f"{path}, line {number}: {error}") from error
    return alignments


def check_count(gold: Sequence[Gold], pairs: int, path: str | Path) -> None:
    """Refuse gold links of another number of sentences."""
    if len(gold) != pairs:
        raise NmtError(f"{path} has {len(gold):,} lines of gold links for {pairs:,} sentence pairs")


def check_gold(gold: Sequence[Gold], words: Sequence[tuple[int, int]], path: str | Path) -> None:
    """Refuse gold links to words that are not there; words: the source and target word count of each sentence."""
    check_count(gold, len(words), path)
    for number, (alignment, counts) in enumerate(zip(gold, words, strict=True), start=1):
        for link in sorted(alignment.possible):
            for side, index, count in zip(("source", "target"), link, counts, strict=True):
                if index >= count:
                    raise NmtError(
                        f"{path}, line {number}: the link {link[0]}-{link[1]} names {side} word {index}, but that "
                        f"sentence has {count} words (counted from 0): is the text tokenised as for the gold links?"
                    )


def alignment_scores(alignments: Sequence[Iterable[Link]], gold: Sequence[Gold]) -> AlignmentScores:
    """AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), with precision |A ∩ P| / |A| and recall |A ∩ S| / |S|."""
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
