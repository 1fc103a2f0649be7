"""German morphology: determiners, adjective endings, nouns and verbs."""

from __future__ import annotations

from enum import IntEnum

from tools.embedded_corpus.lexicon import Noun, Verb


class Case(IntEnum):
    """The four cases, in the order of the ending tables."""

    NOMINATIVE = 0
    ACCUSATIVE = 1
    DATIVE = 2
    GENITIVE = 3


# Tables of endings by gender (p = plural), each in the order of the cases.
_ARTICLE = {
    "m": ("der", "den", "dem", "des"),
    "f": ("die", "die", "der", "der"),
    "n": ("das", "das", "dem", "des"),
    "p": ("die", "die", "den", "der"),
}
_RELATIVE = {
    "m": ("der", "den", "dem", "dessen"),
    "f": ("die", "die", "der", "deren"),
    "n": ("das", "das", "dem", "dessen"),
    "p": ("die", "die", "denen", "deren"),
}
_EIN = {
    "m": ("", "en", "em", "es"),
    "f": ("e", "e", "er", "er"),
    "n": ("", "", "em", "es"),
    "p": ("e", "e", "en", "er"),
}
_DIES = {
    "m": ("er", "en", "em", "es"),
    "f": ("e", "e", "er", "er"),
    "n": ("es", "es", "em", "es"),
    "p": ("e", "e", "en", "er"),
}
_WEAK = {
    "m": ("e", "en", "en", "en"),
    "f": ("e", "e", "en", "en"),
    "n": ("e", "e", "en", "en"),
    "p": ("en", "en", "en", "en"),
}
_MIXED = {
    "m": ("er", "en", "en", "en"),
    "f": ("e", "e", "en", "en"),
    "n": ("es", "es", "en", "en"),
    "p": ("en", "en", "en", "en"),
}
_STRONG = {
    "m": ("er", "en", "em", "en"),
    "f": ("e", "e", "er", "er"),
    "n": ("es", "es", "em", "en"),
    "p": ("e", "e", "en", "er"),
}
_DECLENSIONS = {"weak": _WEAK, "mixed": _MIXED, "strong": _STRONG}

CONTRACTIONS = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("an", "das"): "ans",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
    ("bei", "dem"): "beim",
}


def article(gender: str, case: Case) -> str:
    """Return the definite article."""
    return _ARTICLE[gender][case]


def relative_pronoun(gender: str, case: Case) -> str:
    """Return the relative pronoun; the genitive is dessen or deren."""
    return _RELATIVE[gender][case]


def like_ein(stem: str, gender: str, case: Case) -> str:
    """Return a determiner that is declined like ein: kein, mein, sein ..."""
    ending = _EIN[gender][case]
    return ("eur" if stem == "euer" and ending else stem) + ending


def like_dieser(stem: str, gender: str, case: Case) -> str:
    """Return a determiner that is declined like dieser: jeder, viele, alle ..."""
    return stem + _DIES[gender][case]


def adjective(stem: str, declension: str, gender: str, case: Case) -> str:
    """Return an attributive adjective; teuer, dunkel and hoch change their stem."""
    if stem == "hoch":
        stem = "hoh"
    elif stem.endswith(("euer", "el")):
        stem = stem[:-2] + stem[-1]
    return stem.removesuffix("e") + _DECLENSIONS[declension][gender][case]


def comparative(stem: str) -> str:
    """Return the comparative of a stem: älter, teurer, dunkler."""
    if stem.endswith(("euer", "el")):
        stem = stem[:-2] + stem[-1]
    return stem.removesuffix("e") + "er"


def noun(entry: Noun, plural: bool, case: Case) -> str:
    """Return a noun in number and case."""
    if plural:
        dative = case is Case.DATIVE and not entry.plural.endswith(("n", "s"))
        return entry.plural + ("n" if dative else "")
    weak = entry.gender == "m" and entry.genitive in ("n", "en")
    if case is Case.GENITIVE or (weak and case is not Case.NOMINATIVE):
        return entry.german + entry.genitive
    return entry.german


PERSONS = ("1s", "2s", "3s", "1p", "2p", "3p")

_PRESENT = {
    "sein": "bin bist ist sind seid sind",
    "haben": "habe hast hat haben habt haben",
    "werden": "werde wirst wird werden werdet werden",
    "können": "kann kannst kann können könnt können",
    "müssen": "muss musst muss müssen müsst müssen",
    "wollen": "will willst will wollen wollt wollen",
    "sollen": "soll sollst soll sollen sollt sollen",
    "dürfen": "darf darfst darf dürfen dürft dürfen",
    "wissen": "weiß weißt weiß wissen wisst wissen",
}
_PRETERITE = {
    "sein": "war",
    "haben": "hatte",
    "werden": "wurde",
    "können": "konnte",
    "müssen": "musste",
    "wollen": "wollte",
    "sollen": "sollte",
    "dürfen": "durfte",
}
_INSEPARABLE = ("be", "ver", "er", "ent", "zer", "ge", "über", "unter", "wider", "wieder", "emp")
# Simple verbs that only look as if they had one of these prefixes.
_TAKES_GE = ("enden",)


def _stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def _needs_e(stem: str) -> bool:
    """Return whether -st and -t need an e before them: arbeitet, öffnet, but lernt, wohnt."""
    return stem.endswith(("d", "t", "chn", "ffn", "gn"))


def present(infinitive: str, person: str, third: str = "") -> str:
    """Return the finite present of a verb without its prefix; `third` is an irregular third person singular."""
    index = PERSONS.index(person)
    if infinitive in _PRESENT:
        return _PRESENT[infinitive].split()[index]
    stem = _stem(infinitive)
    link = "e" if _needs_e(stem) else ""
    if index in (3, 5):
        return infinitive
    if index == 0:
        return (stem[:-2] + "l" if stem.endswith("el") else stem) + "e"
    if index == 4:
        return stem + link + "t"
    if index == 2:
        return third or stem + link + "t"
    if third:
        base = third if stem.endswith("t") else third[:-1]
        return base + ("t" if base.endswith(("s", "ß")) else "st")
    return stem + link + ("t" if stem.endswith(("s", "ß", "z")) else "st")


def preterite(infinitive: str, person: str, first: str = "") -> str:
    """Return the finite preterite of a verb without its prefix; `first` is an irregular first person singular."""
    stem = _stem(infinitive)
    form = first or _PRETERITE.get(infinitive) or stem + ("e" if _needs_e(stem) else "") + "te"
    if form.endswith("e"):
        return form + ("", "st", "", "n", "t", "n")[PERSONS.index(person)]
    link = "e" if form.endswith(("d", "t", "s", "ß")) else ""
    return form + ("", link + "st", "", "en", link + "t", "en")[PERSONS.index(person)]


def participle(verb: Verb) -> str:
    """Return the past participle with its prefix."""
    if verb.participle:
        return verb.participle
    stem = _stem(verb.infinitive)
    without_ge = verb.infinitive.endswith("ieren") or verb.infinitive.startswith(_INSEPARABLE)
    ge = "" if without_ge and verb.infinitive not in _TAKES_GE else "ge"
    return verb.prefix + ge + stem + ("e" if _needs_e(stem) else "") + "t"
