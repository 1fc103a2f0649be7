"""What SentencePiece keeps for itself, and how text that has it comes through all the same.

SentencePiece writes ▁ (U+2581) for a space, and its trainer marks unknown characters by ▅ (U+2585): it would read the
first as a space and leave out lines with the second. Inside of a model two noncharacters stand in their place, which
no line of text has (nmt.data.characters).
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
    """Text as SentencePiece is given it, character for character."""
    return text if text.isascii() else text.translate(_INSIDE)


def outside(text: str) -> str:
    """The text that was given, of what SentencePiece gives back."""
    return text if text.isascii() else text.translate(_OUTSIDE)


def normaliser(normalization: str) -> Callable[[str], str]:
    """What makes of text what a model with that tokenizer.normalization has of it: `inside`, and normalised."""
    if normalization == "identity":
        return inside
    ours = sentencepiece.SentencePieceNormalizer(
        rule_name=normalization, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    return lambda text: str(ours.normalize(inside(text)))


def learnable(lines: Iterable[str], normalization: str, symbols: Iterable[str], most_bytes: int) -> Iterator[str]:
    """Yield lines as the trainer of SentencePiece can learn all of their characters.

    It would cut lines at the names of its symbols, such as <s>, without counting their characters: it is shown
    a space after the <. And it would leave out lines of more than `most_bytes`: it is shown their parts. Normalisation
    comes first, since ＜s＞ may become such a name by it. `symbols` are the names beside those of bytes.
    """
    names = "|".join(re.escape(name.replace(SPACE, " ").removeprefix("<")) for name in (*symbols, *_BYTES))
    name, normalise, most = re.compile(f"<(?={names})"), normaliser(normalization), most_bytes // 4
    for line in lines:
        shown = name.sub("< ", normalise(line))
        yield from (shown[start : start + most] for start in range(0, len(shown), most))
