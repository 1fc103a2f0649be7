"""Format tables of plain text for the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from nmt.messages import visible


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Format a table: `left` left-aligned columns, then right-aligned ones, with two spaces between columns.

    What is in a cell may be a name from a run: characters that are not printed are shown as escapes.
    """
    cells = [[visible(text) for text in row] for row in (header, *rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            text + " " * (widest - width(text)) if column < left else " " * (widest - width(text)) + text
            for column, (text, widest) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Return the width of text in terminal columns: two for a wide character, none for a combining character."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
