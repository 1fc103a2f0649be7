"""Messages to the user. Everything except results goes to standard error, through the functions in this module."""

from __future__ import annotations

import sys


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


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"\r\x1b[K{text}" if on_terminal() else text)
        sys.stderr.flush()
