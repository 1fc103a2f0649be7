"""Splitting long lines where a reader would pause, and joining the translations of the parts."""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from sentencex import segment

from nmt.config.languages import language_of

_CLOSING = "\"'”’»)\\]」』）】》"
_ENDS = ".!?…。．！？؟۔।॥]\"'”’»)」』）】》"  # characters with which a sentence ends, also without a space after it
# Where a sentence may be cut, best places first. White space stays with the piece before it.
_BREAKS = (
    re.compile(rf"(?:[,;:،؛]+[{_CLOSING}]*(?=\s)|[，；：、]+[{_CLOSING}]*|\s[–—-](?=\s))\s*"),  # clause
    re.compile(r"\s+"),  # word
)
_WINDOW = 2000  # characters passed to sentencex at once, because its time is quadratic for Chinese


def split_to_fit(line: str, fits: Callable[[str], bool], language: str) -> list[str]:
    """Split a line that does not fit into pieces that do; their concatenation is the line.

    The pieces are single sentences, even if several would fit: models are trained on single sentences, and given
    several at once they tend to leave some out. `language`, a code such as "de", decides where sentences end. A
    sentence that does not fit is cut into the longest pieces that do: after clauses if possible, otherwise between
    words, and inside a word only if the word alone does not fit. A single character counts as fitting.
    """
    if fits(line):
        return [line]
    pieces: list[str] = []
    for sentence in _sentences(line, language):
        if pieces and not sentence.strip() and fits(pieces[-1] + sentence):  # so that words are not joined
            pieces[-1] += sentence
        else:
            pieces += [sentence] if fits(sentence) else _pack(_units(sentence, 0), fits, 1)
    return pieces


def join_translations(sources: Sequence[str], translations: Sequence[str]) -> str:
    """Join the translations of a line's pieces to one line, with spaces between them where the script uses spaces.

    There is no space next to a character of a script without spaces (Chinese, Japanese), and none where a word of the
    source was cut. Empty translations are skipped.
    """
    joined, before = "", ""
    for source, translation in zip(sources, translations, strict=True):
        if joined and translation:
            tight = _is_cut(before) or _unspaced(joined[-1]) or _unspaced(translation[0])
            joined += "" if tight else " "
        joined += translation
        before = source
    return joined


def _is_cut(piece: str) -> bool:
    """Return whether a piece that is not the last ends inside of a word: not with white space or a sentence."""
    last = piece[-1]
    return not (last.isspace() or last in _ENDS or _unspaced(last) or _between_spaces(last))


def _sentences(line: str, language: str) -> Iterator[str]:
    """Yield the sentences of a line, each with the white space after it."""
    language = language_of(language)  # sentencex only knows two-letter codes, without script or region
    start, window = 0, _WINDOW
    while start < len(line):
        found = segment(language, line[start : start + window])
        if start + window < len(line):
            found = found[:-1]  # the window may have cut the last sentence
        yield from found
        start += sum(map(len, found))
        window = _WINDOW if found else 2 * window


def _pack(units: Sequence[str], fits: Callable[[str], bool], level: int) -> list[str]:
    """Join units to the longest pieces that fit; a single unit that does not fit is cut at the breaks of `level`."""
    pieces, start = [], 0
    while start < len(units):
        end = _longest_fit(units, start, fits)
        if end > start:
            pieces.append("".join(units[start:end]))
        elif level <= len(_BREAKS):
            end = start + 1
            pieces += _pack(_units(units[start], level), fits, level + 1)
        else:
            end = start + 1
            pieces.append(units[start])
        start = end
    return pieces


def _units(text: str, level: int) -> list[str]:
    """Cut text at every break of a level. The last level cuts between characters, but not before combining marks."""
    if level < len(_BREAKS):
        cuts = [match.end() for match in _BREAKS[level].finditer(text)]
    else:
        cuts = [place for place in range(1, len(text)) if not _combines(text[place - 1], text[place])]
    edges = [0, *[cut for cut in cuts if 0 < cut < len(text)], len(text)]
    return [text[left:right] for left, right in itertools.pairwise(edges)]


def _longest_fit(units: Sequence[str], start: int, fits: Callable[[str], bool]) -> int:
    """Return the end of the longest run of units from `start` that fits; `start` if not even one unit fits.

    The run is doubled until it is too long; then its end is found by bisection.
    """

    def too_long(end: int) -> bool:
        return not fits("".join(units[start:end]))

    reach = 1
    while start + reach < len(units) and not too_long(start + reach):
        reach *= 2
    return bisect.bisect_left(range(start + 1, min(start + reach, len(units)) + 1), True, key=too_long) + start


def _combines(before: str, character: str) -> bool:
    joiner = "\u200d"
    return character == joiner or before == joiner or unicodedata.category(character) in ("Mn", "Mc", "Me")


def _between_spaces(character: str) -> bool:
    """Return whether a character is of a script that has spaces, but not between words."""
    return unicodedata.name(character, "").startswith(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"))


def _unspaced(character: str) -> bool:
    """Return whether a character belongs to a script without spaces: a wide one, except Hangul, which has spaces."""
    wide = unicodedata.east_asian_width(character) in "WF"
    return wide and not unicodedata.name(character, "").startswith("HANGUL")
