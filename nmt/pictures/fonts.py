"""Find installed fonts that have the glyphs of a text in any script."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

BASE = "DejaVu Sans"  # comes with matplotlib
LAST_RESORT = "last resort"  # in the names of fonts that draw a box for every character


def families_for(texts: Iterable[str]) -> list[str]:
    """Return font families that together cover the characters of the texts, as far as installed fonts have them."""
    families, _ = _cover(_characters(texts))
    return list(families)


def missing_characters(texts: Iterable[str]) -> str:
    """Return the characters of the texts that no installed font can draw, in order of code points."""
    _, missing = _cover(_characters(texts))
    return "".join(sorted(missing))


def _characters(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(
        character for text in texts for character in text if character.isprintable() and not character.isspace()
    )


@lru_cache(maxsize=256)
def _cover(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Choose fonts for the characters greedily, and return their families and the characters that no font has.

    First comes the bundled font, then repeatedly the installed regular font with most of the missing characters.
    """
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
    """Return the family and characters of each installed upright regular font; sans-serif first, then by name."""
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

    try:
        return frozenset(chr(code) for code in FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # matplotlib's list of fonts can name one that is gone or broken
        return frozenset()
