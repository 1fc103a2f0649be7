"""Reading the blocks of code of a page in docs/, with the headings above them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEADING_OR_BLOCK = re.compile(r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A block of code, with the last heading above it and its language, such as python."""

    heading: str
    language: str
    code: str


def blocks(page: str) -> list[Block]:
    """Return the blocks of code of a page, in order."""
    found, heading = [], ""
    for match in HEADING_OR_BLOCK.finditer((DOCS / page).read_text("utf-8")):
        heading = match["heading"] or heading
        if match["code"] is not None:
            found.append(Block(heading, match["language"], match["code"]))
    return found
