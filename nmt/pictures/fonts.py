"""Fonts that have the glyphs of a text: found among the installed ones, for any script."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

BASE = "DejaVu Sans"  # ships with matplotlib
LAST_RESORT = "last resort"  # fonts that draw a box for everything


def families_for(texts: Iterable[str]) -> list[str]:
    """Font families that together draw the texts, the most useful first; characters nobody has are left out."""
    families, _ = _cover(_characters(texts))
    return list(families)


def missing_characters(texts: Iterable[str]) -> str:
    """The characters of the texts that no installed font can draw, in order of their code points."""
    _, missing = _cover(_characters(texts))
    return "".join(sorted(missing))


def _characters(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(
        character for text in texts for character in text if character.isprintable() and not character.isspace()
    )


@lru_cache(maxsize=256)
def _cover(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Greedy cover: the bundled font, then whichever installed regular font has most of what is missing."""
    from matplotlib.font_manager import findfont

    families = [BASE]
    missing = characters - _glyphs(findfont(BASE))
    if missing:
        fonts = _installed()
        while missing:
            family, glyphs = max(fonts, key=lambda font: len(font[1] & missing), default=(BASE, frozenset()))
            if not glyphs & missing:
                break
            families.append(family)
            missing -= glyphs
    return tuple(families), frozenset(missing)


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, frozenset[str]], ...]:
    """Family and characters of every upright regular font, sans-serif ones first, in a fixed order."""
    from matplotlib.font_manager import fontManager

    paths = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
        if LAST_RESORT not in entry.name.lower()
    }
    ordered = sorted(paths, key=lambda name: ("sans" not in name.lower(), name))
    return tuple((name, _glyphs(paths[name])) for name in ordered)


@lru_cache(maxsize=256)
def _glyphs(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    return frozenset(chr(code) for code in FT2Font(path).get_charmap())
