"""The foreign characters, which no line of text may have, and their replacement by spaces.

The same definition is used for training text, for input to be translated, and for translations that are written. The
foreign characters are the control characters of Unicode (category Cc) except the tab, the line and paragraph separators
(U+2028, U+2029), and the 66 noncharacters, which Unicode reserves for use inside programs.
"""

from __future__ import annotations

import re
import unicodedata

LINE_ENDS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"  # the characters at which str.splitlines splits
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)
)
_FOREIGN = re.compile(f"[\x00-\x08\n-\x1f\x7f-\x9f\u2028\u2029{_NONCHARACTERS}]")
_FOREIGN_BUT_LINE_ENDS = re.compile(f"(?![{LINE_ENDS}]){_FOREIGN.pattern}")
_NAMES = {
    "\0": "NUL",
    "\v": "vertical tab",
    "\f": "form feed",
    "\r": "carriage return",
    "\x1b": "escape",
    "\x85": "NEL",
}


def find_foreign(text: str) -> re.Match[str] | None:
    """Return a match for the first foreign character in a text, or None."""
    return None if text.isprintable() else _FOREIGN.search(text)  # printable text has no foreign characters


def has_control(text: str) -> bool:
    """Return whether a text has foreign characters other than line ends, which means that it was damaged."""
    return not text.isprintable() and _FOREIGN_BUT_LINE_ENDS.search(text) is not None


def as_line(text: str) -> str:
    """Return the text as one line, with a space instead of every foreign character."""
    return text if text.isprintable() else _FOREIGN.sub(" ", text)


def name_of(character: str) -> str:
    """Return a readable name for a foreign character, for error messages."""
    kind = "a noncharacter" if unicodedata.category(character) == "Cn" else "a control character"
    return _NAMES.get(character, unicodedata.name(character, kind))
