"""Languages as users write them: one reading of every spelling, for whatever depends on a language.

A code is read by its first part (`zh` of zh-CN, `deu` of deu_Latn), in ISO 639-1, -2 or -3. A word that is no code,
such as the ending of a file, is allowed wherever a language is: it names a language of which nothing is known.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langcodes import Language

_CODES = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv fy
ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la lb
lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk
sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""
IDENTIFIED = frozenset(_CODES.split())  # ISO 639, as py3langid 0.4 has them; a test compares
_VARIETIES = {  # members of one macrolanguage of ISO 639-3: too close, or too mixed in use, to call one another wrong
    "no": "nb nn",
    "sh": "bs hr sr",
    "zh": "cdo cjy cnp cpx csp czh czo gan hak hnm hsn luh lzh mnp nan sjc wuu yue",
    "ar": "ary arz",
    "uz": "uzs",
    "ku": "sdh",
    "lv": "ltg",
}
_MACROLANGUAGE = {variety: macro for macro, varieties in _VARIETIES.items() for variety in varieties.split()}
_UNSPACED = frozenset({"zh", "ja", "th"})
_ENDINGS = frozenset({"src", "tgt", "trg"})  # of files of either side, before they are codes of small languages


def is_language(code: str) -> bool:
    """Whether this is a language, with script and region if any, as they are registered (BCP 47)."""
    language = _parse(code)
    return language is not None and language.is_valid()


def language_of(code: str) -> str:
    """Return the language that a code names, in ISO 639-1 where it has two letters, else in ISO 639-3.

    The main language of a macrolanguage goes by the macrolanguage's code, as in Unicode's CLDR: cmn is zh, arb is ar.
    The first part of a word that is no language's code is returned in lower case.
    """
    first = re.split("[-_.@]", code)[0].lower()
    language = _parse(first)
    return first if language is None else str(language.prefer_macrolanguage().language)


def macrolanguage_of(code: str) -> str:
    """Return the macrolanguage of the language that a code names, or the language itself: zh for Cantonese (yue)."""
    language = language_of(code)
    return _MACROLANGUAGE.get(language, language)


def is_unspaced(code: str) -> bool:
    """Whether a language is written without spaces between words: every Chinese one, Japanese and Thai."""
    return macrolanguage_of(code) in _UNSPACED


def known_as(code: str) -> str | None:
    """Return the code under which a language is told from others; None for one that cannot be."""
    macro = macrolanguage_of(code)
    return macro if macro in _identified() else None


def html_language(code: str) -> str:
    """Return a language for HTML's `lang` (BCP 47), with script and region; empty, for unknown, where it is no code."""
    language = _parse(code)
    return "" if language is None else str(language.prefer_macrolanguage().to_tag())


@cache
def _identified() -> frozenset[str]:
    return frozenset(map(macrolanguage_of, IDENTIFIED))


@cache
def _parse(code: str) -> Language | None:
    from langcodes import Language  # here: a command that asks for no language need not load it
    from langcodes.tag_parser import LanguageTagError

    if code.lower() in _ENDINGS:
        return None
    try:
        language = Language.get(code)
    except LanguageTagError:
        return None
    return language if language.language and Language.make(language=language.language).is_valid() else None
