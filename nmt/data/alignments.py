"""Word alignments in Pharaoh format: a line of links such as `0-0 1-2` for each sentence pair."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nmt.data.compression import read_lines
from nmt.errors import NmtError

Link = tuple[int, int]  # a source word and a target word, both counted from 0

_LINK = re.compile(r"(\d+)([-?p])(\d+)")


class Gold(NamedTuple):
    """The links of one sentence pair: those that annotators were sure of, and all possible ones (sure ones included).

    A link is a pair of a source and a target word index, both from 0.
    """

    sure: frozenset[Link]
    possible: frozenset[Link]


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
    """Read a file of links, one sentence pair per line."""
    alignments = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            alignments.append(parse_links(line))
        except ValueError as error:
            raise NmtError(f"{path}, line {number}: {error}") from error
    return alignments


def check_links(links: Iterable[Link], counts: tuple[int, int], place: str) -> None:
    """Raise NmtError if a link names a word that its sentence does not have.

    `counts` are the numbers of source and target words; `place` is the file and line of the links, for the message.
    """
    for link in sorted(links):
        for side, index, count in zip(("source", "target"), link, counts, strict=True):
            if index >= count:
                raise NmtError(
                    f"{place}: the link {link[0]}-{link[1]} names {side} word {index}, but that sentence has {count} "
                    "words (counted from 0): is the text tokenised like that of the links?"
                )
