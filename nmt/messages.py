"""Messages to the user: all but results goes to standard error, by the functions here."""

from __future__ import annotations

import sys


def tell(sentence: str, speaker: str = "") -> None:
    """Print a sentence on stderr, in place of a live line that may stand there.

    `speaker` is the command that says it. Where stderr is closed, nothing is said.
    """
    _write(f"{speaker}: {sentence}\n" if speaker else f"{sentence}\n")


def renew(line: str) -> None:
    """Show a line that the next message replaces. For terminals alone; an empty one clears what stands there."""
    _write(line)


def on_terminal() -> bool:
    """Return whether messages are read on a terminal, which can show a live line."""
    return sys.stderr is not None and sys.stderr.isatty()


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"\r\x1b[K{text}" if on_terminal() else text)
        sys.stderr.flush()
