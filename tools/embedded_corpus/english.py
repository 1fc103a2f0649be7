"""English morphology: articles, plurals, comparatives and verb forms."""

from __future__ import annotations

from tools.embedded_corpus.lexicon import Adjective, Noun, Verb

_DOUBLING = {
    "plan",
    "travel",
    "cancel",
    "shop",
    "hug",
    "stop",
    "chat",
    "swim",
    "run",
    "sit",
    "get",
    "cut",
    "begin",
    "forget",
    "put",
}
_COMPARATIVES = {"good": "better"}
_LONG = {
    "famous",
    "tired",
    "boring",
    "polite",
    "modern",
    "strange",
    "honest",
    "careful",
    "cheerful",
    "patient",
    "bitter",
}
_BE_PRESENT = {"1s": "am", "3s": "is"}
_VOWELS = "aeiou"


def indefinite_article(following: str) -> str:
    """Return "a" or "an", depending on the first sound of the next word."""
    if following.startswith(("uni", "use")):
        return "a"
    return "an" if following[0] in _VOWELS or following.startswith(("hour", "honest")) else "a"


def _with_s(stem: str) -> str:
    if stem.endswith("y") and stem[-2] not in _VOWELS:
        return f"{stem[:-1]}ies"
    return stem + ("es" if stem.endswith(("s", "x", "z", "ch", "sh", "tato", "mato")) else "s")


def noun(entry: Noun, plural: bool) -> str:
    """Return a noun in singular or plural."""
    return (entry.english_plural or _with_s(entry.english)) if plural else entry.english


def comparative(entry: Adjective) -> str:
    """Return the comparative as one word or two: older, more interesting."""
    stem = entry.english
    if stem in _COMPARATIVES:
        return _COMPARATIVES[stem]
    if stem.endswith("y"):
        return f"{stem[:-1]}ier"
    if stem in _LONG or len(stem) > 6:
        return f"more {stem}"
    if stem.endswith("e"):
        return f"{stem}r"
    return stem + (stem[-1] if _doubles_adjective(stem) else "") + "er"


def _doubles_adjective(stem: str) -> bool:
    return stem[-1] in "dgnt" and stem[-2] in _VOWELS and stem[-3] not in _VOWELS and stem != "modern"


def third_person(base: str) -> str:
    """Return the third person singular of the present."""
    if base == "have":
        return "has"
    return f"{base}es" if base.endswith("o") else _with_s(base)


def past(verb: Verb) -> str:
    """Return the simple past of any verb except be."""
    return verb.english_past or _regular_past(verb.english)


def participle(verb: Verb) -> str:
    """Return the past participle."""
    return verb.english_participle or _regular_past(verb.english)


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return f"{base}d"
    if base.endswith("y") and base[-2] not in _VOWELS:
        return f"{base[:-1]}ied"
    return base + (base[-1] if base in _DOUBLING else "") + "ed"


def progressive(base: str) -> str:
    """Return the -ing form."""
    if base.endswith("ie"):
        return f"{base[:-2]}ying"
    if base.endswith("e") and not base.endswith("ee"):
        return f"{base[:-1]}ing"
    return base + (base[-1] if base in _DOUBLING else "") + "ing"


def be(person: str, past_tense: bool = False) -> str:
    """Return the finite form of be; the second person singular has the form of the plural."""
    if past_tense:
        return "was" if person in ("1s", "3s") else "were"
    return _BE_PRESENT.get(person, "are")
