"""Which characters no line of text has, and what stands in their place.

This one definition holds for training text, for input that is translated, and for what is written as a translation.
The characters are the control characters of Unicode (category Cc) but the tab, the line and paragraph separator
(U+2028, U+2029), and the 66 noncharacters, which Unicode keeps for use inside of programs.
"""

from __future__ import annotations

import re
import unicodedata

LINE_ENDS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines cuts
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
    """The first character that no line of text has."""
    return None if text.isprintable() else _FOREIGN.search(text)  # printable text has none of them


def has_control(text: str) -> bool:
    """Whether there is such a character that does not end a line either: text it is in was damaged."""
    return not text.isprintable() and _FOREIGN_BUT_LINE_ENDS.search(text) is not None


def as_line(text: str) -> str:
    """The text as one line: a space in place of every character that no line of text has."""
    return text if text.isprintable() else _FOREIGN.sub(" ", text)


def name_of(character: str) -> str:
    """What to call such a character."""
    kind = "a noncharacter" if unicodedata.category(character) == "Cn" else "a control character"
    return _NAMES.get(character, unicodedata.name(character, kind))
