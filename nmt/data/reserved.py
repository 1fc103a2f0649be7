"""Characters that SentencePiece reserves for itself, and their replacement so that text may contain them.

SentencePiece writes ▁ (U+2581) for a space, and its trainer marks unknown characters with ▅ (U+2585). It would read a ▁
in text as a space, and skip training lines that contain ▅. Inside a model, both are therefore replaced by two
noncharacters, which no line of text may have (nmt.data.characters).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import sentencepiece

SPACE = "▁"  # how SentencePiece writes the space before a word
_INSIDE = str.maketrans({SPACE: "\ufdd0", "▅": "\ufdd1"})
_OUTSIDE = str.maketrans({"\ufdd0": SPACE, "\ufdd1": "▅"})
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def inside(text: str) -> str:
    """Return text with the reserved characters replaced, as SentencePiece needs it; the length stays the same."""
    return text if text.isascii() else text.translate(_INSIDE)


def outside(text: str) -> str:
    """Return the original text for text that SentencePiece returned: the inverse of `inside`."""
    return text if text.isascii() else text.translate(_OUTSIDE)


def normaliser(normalization: str) -> Callable[[str], str]:
    """Return a function that turns text into what a model with that tokenizer.normalization sees.

    The function applies `inside` and then the normalization.
    """
    if normalization == "identity":
        return inside
    ours = sentencepiece.SentencePieceNormalizer(
        rule_name=normalization, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    return lambda text: str(ours.normalize(inside(text)))


def learnable(lines: Iterable[str], normalization: str, symbols: Iterable[str], most: int) -> Iterator[str]:
    """Yield lines in a form from which SentencePiece's trainer learns all of their characters.

    The trainer would cut lines at the names of its symbols, such as <s>, and not count the characters of the names, so
    a space is inserted after the <. It would skip, or fail on, very long lines, so those of more than `most` characters
    are yielded in parts. Lines are normalised first, since this can turn text such as ＜s＞ into a name. `symbols` are
    the names of all symbols except those of bytes.
    """
    names = "|".join(re.escape(name.replace(SPACE, " ").removeprefix("<")) for name in (*symbols, *_BYTES))
    name, normalise = re.compile(f"<(?={names})"), normaliser(normalization)
    for line in lines:
        shown = name.sub("< ", normalise(line))
        yield from (shown[start : start + most] for start in range(0, len(shown), most))
