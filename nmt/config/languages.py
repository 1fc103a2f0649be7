"""Interpret language codes, in whatever way users write them.

A code is read by its first part (`zh` of zh-CN, `deu` of deu_Latn), in ISO 639-1, -2 or -3. A word that is not a
language code, such as a file extension, is allowed in place of a code: it names a language about which nothing is
known.
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
IDENTIFIED = frozenset(_CODES.split())  # ISO 639; the languages that py3langid 0.4 identifies (a test compares)
_VARIETIES = {  # by macrolanguage of ISO 639-3: varieties too close, or too mixed in use, to be told apart
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
_ENDINGS = frozenset({"src", "tgt", "trg"})  # read as file extensions, although small languages have these codes


def is_language(code: str) -> bool:
    """Return whether `code` is a valid BCP 47 language tag, optionally with script and region (`zh-Hans`, `de-AT`)."""
    language = _parse(code)
    return language is not None and language.is_valid()


def language_of(code: str) -> str:
    """Return the language of a code without script and region: its ISO 639-1 code if it has one, else ISO 639-3.

    For the main language of a macrolanguage, this is the code of the macrolanguage, as in Unicode's CLDR: cmn gives zh,
    arb gives ar. For a word that is not a language code, it is the first part of the word in lower case.
    """
    first = re.split("[-_.@]", code)[0].lower()
    language = _parse(first)
    return first if language is None else str(language.prefer_macrolanguage().language)


def macrolanguage_of(code: str) -> str:
    """Return the macrolanguage of the language of a code, such as zh for Cantonese (yue), else the language itself."""
    language = language_of(code)
    return _MACROLANGUAGE.get(language, language)


def is_unspaced(code: str) -> bool:
    """Return whether a language is written without spaces between words: the Chinese languages, Japanese and Thai."""
    return macrolanguage_of(code) in _UNSPACED


def known_as(code: str) -> str | None:
    """Return the code by which language identification knows a language, or None if it cannot identify the language."""
    macro = macrolanguage_of(code)
    return macro if macro in _identified() else None


def html_language(code: str) -> str:
    """Return the value of HTML's `lang` attribute (BCP 47, with script and region); empty for an unknown language."""
    language = _parse(code)
    return "" if language is None else str(language.prefer_macrolanguage().to_tag())


@cache
def _identified() -> frozenset[str]:
    return frozenset(map(macrolanguage_of, IDENTIFIED))


@cache
def _parse(code: str) -> Language | None:
    from langcodes import Language  # imported here: many commands do not need it
    from langcodes.tag_parser import LanguageTagError

    if code.lower() in _ENDINGS:
        return None
    try:
        language = Language.get(code)
    except LanguageTagError:
        return None
    return language if language.language and Language.make(language=language.language).is_valid() else None
