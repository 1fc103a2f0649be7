"""Messages to the user. Everything except results goes to standard error, through the functions in this module."""

from __future__ import annotations

import sys
import unicodedata


def tell(sentence: str, speaker: str = "") -> None:
    """Print a sentence on stderr, replacing the live line if one is shown.

    `speaker` is the name of the command, which is put before the sentence. If stderr is closed, nothing is printed.
    """
    _write(f"{speaker}: {sentence}\n" if speaker else f"{sentence}\n")


def renew(line: str) -> None:
    """Show a live line, which the next message replaces; an empty line clears it. For terminals only."""
    _write(line)


def on_terminal() -> bool:
    """Return whether stderr is a terminal, which can show a live line."""
    return sys.stderr is not None and sys.stderr.isatty()


def visible(text: str, spared: str = "") -> str:
    """Write out all characters that are not printed, but for those in `spared`, as escapes such as \\x1b.

    They may come from a file of somebody else, and could hide or reorder text, or give orders to a terminal.
    """
    return "".join(
        character
        if character.isprintable() or character in spared or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _write(text: str) -> None:
    if sys.stderr is not None:
        shown = visible(text, "\n")
        sys.stderr.write(f"\r\x1b[K{shown}" if on_terminal() else shown)
        sys.stderr.flush()
