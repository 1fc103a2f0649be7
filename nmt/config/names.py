"""Plain names: those that become names of files and folders, and so must not lead anywhere else."""

from __future__ import annotations

import unicodedata

from nmt.errors import require

_LONGEST = 100  # bytes; file systems allow 255, and tags and digests are added to names
_MARKS = frozenset("._-+@")


def check_name(key: str, name: str) -> None:
    """Raise ConfigError unless `name`, which is the value of `key` or its last part, is a plain name."""
    require(
        plain_name(name) == name,
        f"{key}: {name[:_LONGEST]!r} becomes part of a file name, so it may only have letters, digits and . _ - + @, "
        f"no dot at the beginning, and at most {_LONGEST} bytes",
    )


def plain_name(text: str) -> str:
    """Return `text` if it is a plain name, else the nearest one: other characters become _, and a long text is cut.

    A plain name has letters and digits of any script and . _ - + @, and does not begin with a dot.
    """
    name = "".join(character if _is_plain(character) else "_" for character in text) or "_"
    if name.startswith("."):
        name = f"_{name[1:]}"
    return name.encode()[:_LONGEST].decode(errors="ignore")


def _is_plain(character: str) -> bool:
    """Return whether a character is a letter, a sign on a letter (as in Hindi), a digit or one of the marks."""
    return character in _MARKS or unicodedata.category(character)[0] in "LMN"
