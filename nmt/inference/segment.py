"""Long lines in pieces: split where a reader would pause, translated one by one, joined again."""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from sentencex import segment

from nmt.config.languages import language_of

_CLOSING = "\"'”’»)\\]」』）】》"
# Where a piece of a sentence may end, best place first. White space belongs to the piece before it.
_BREAKS = (
    re.compile(rf"(?:[,;:،؛]+[{_CLOSING}]*(?=\s)|[，；：、]+[{_CLOSING}]*|\s[–—-](?=\s))\s*"),  # clause
    re.compile(r"\s+"),  # word
)
_WINDOW = 2000  # characters in which sentences are looked for at once: sentencex takes quadratic time in Chinese


def split_to_fit(line: str, fits: Callable[[str], bool], language: str) -> list[str]:
    """Cut a line that does not fit into pieces that do, which joined give the line again.

    These are its sentences, as written in `language` (a code such as "de"), each alone: it is single sentences that
    models are trained on, and several at once they leave out. A sentence that does not fit is cut into the longest
    pieces that do: after clauses; then between words; and only in a word that does not fit, between characters. A
    single character counts as fitting.
    """
    if fits(line):
        return [line]
    pieces = []
    for sentence in _sentences(line, language):
        pieces += [sentence] if fits(sentence) else _pack(_units(sentence, 0), fits, 1)
    return pieces


def join_translations(sources: Sequence[str], translations: Sequence[str]) -> str:
    """One line from the translations of a line's pieces: with spaces, where languages write them.

    None stands next to a character of a script without spaces between words (Chinese, Japanese), nor where a source
    that uses spaces was cut inside a word. Empty translations leave no trace.
    """
    joined, before = "", ""
    for source, translation in zip(sources, translations, strict=True):
        if joined and translation:
            cut_in_word = not before[-1].isspace() and not _unspaced(before[-1])
            tight = cut_in_word or _unspaced(joined[-1]) or _unspaced(translation[0])
            joined += "" if tight else " "
        joined += translation
        before = source
    return joined


def _sentences(line: str, language: str) -> Iterator[str]:
    """The sentences of a line, with the white space after them."""
    language = language_of(language)  # sentencex knows no regions, scripts or three letters
    start, window = 0, _WINDOW
    while start < len(line):
        found = segment(language, line[start : start + window])
        if start + window < len(line):
            found = found[:-1]  # the window may have cut the last one
        yield from found
        start += sum(map(len, found))
        window = _WINDOW if found else 2 * window


def _pack(units: Sequence[str], fits: Callable[[str], bool], level: int) -> list[str]:
    """The longest runs of units that fit; a unit that does not fit alone is cut at break level `level`."""
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
    """Text cut at every break of that level; the last level is characters, with the marks that combine with them."""
    if level < len(_BREAKS):
        cuts = [match.end() for match in _BREAKS[level].finditer(text)]
    else:
        cuts = [place for place in range(1, len(text)) if not _combines(text[place - 1], text[place])]
    edges = [0, *[cut for cut in cuts if 0 < cut < len(text)], len(text)]
    return [text[left:right] for left, right in itertools.pairwise(edges)]


def _longest_fit(units: Sequence[str], start: int, fits: Callable[[str], bool]) -> int:
    """The end of the longest run of units from start that fits, by doubling and halving; start if not even one does."""

    def too_long(end: int) -> bool:
        return not fits("".join(units[start:end]))

    reach = 1
    while start + reach < len(units) and not too_long(start + reach):
        reach *= 2
    return bisect.bisect_left(range(start + 1, min(start + reach, len(units)) + 1), True, key=too_long) + start


def _combines(before: str, character: str) -> bool:
    joiner = "\u200d"
    return character == joiner or before == joiner or unicodedata.category(character) in ("Mn", "Mc", "Me")


def _unspaced(character: str) -> bool:
    """Whether a character belongs to a wide script that is written without spaces; Hangul is wide, but has spaces."""
    wide = unicodedata.east_asian_width(character) in "WF"
    return wide and not unicodedata.name(character, "").startswith("HANGUL")
