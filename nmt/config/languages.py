"""The languages that language identification knows, so that a configuration can be checked without loading it."""

from __future__ import annotations

import re

_CODES = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv fy
ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la lb
lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk
sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""
IDENTIFIED = frozenset(_CODES.split())  # ISO 639, as py3langid 0.4 has them; a test compares
_VARIETIES = {  # members of one macrolanguage of ISO 639-3: too close, or too mixed in use, to call one another wrong
    "no": ("nb", "nn"),
    "sh": ("bs", "hr", "sr"),
    "zh": ("wuu", "yue"),
    "ar": ("ary", "arz"),
    "uz": ("uzs",),
    "ku": ("sdh",),
    "lv": ("ltg",),
}
_MACROLANGUAGE = {variety: macro for macro, varieties in _VARIETIES.items() for variety in varieties}


def known_as(code: str) -> str | None:
    """Under which code a language is told from others, the region (zh-TW, pt_BR) left out; None if it is not known."""
    language = re.split("[-_]", code.lower())[0]
    known = language in IDENTIFIED or language in _MACROLANGUAGE or language in _VARIETIES
    return _MACROLANGUAGE.get(language, language) if known else None
