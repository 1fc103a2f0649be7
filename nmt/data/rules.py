"""The rules that need no more than a pair itself, a function each, in the order in which they are asked.

A new rule is a function, its line in PAIR_RULES and its key in CleaningConfig; counts, examples, reports and worker
processes follow from those. Thresholds that others use for such rules stand in docs/prepare.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from nmt.config.data import CleaningConfig
from nmt.config.languages import known_as
from nmt.data.characters import has_control
from nmt.data.language_id import identify

Pair = tuple[str, str]  # source and target, white space normalised

_LONGEST_PHRASE = 10  # words that are looked for as one unit of a repetition
_LONGEST_STRING = 20  # characters, within a word or in text without spaces
_ONE_EACH = re.compile(r"[\x00-\u11ff\u2000-\u2bff]*+")  # alphabets and the like, and punctuation: a letter each
# How many letters of English a sign is worth, by how its name in Unicode begins; docs/prepare.md says from where.
_WORTH = {
    "CJK UNIFIED IDEOGRAPH": 4,
    "CJK COMPATIBILITY IDEOGRAPH": 4,
    "IDEOGRAPHIC ITERATION MARK": 4,
    "HANGUL SYLLABLE": 3,
    "YI SYLLABLE": 3,
    "HIRAGANA LETTER": 2,
    "KATAKANA LETTER": 2,
    "KATAKANA-HIRAGANA PROLONGED SOUND MARK": 2,
    "ETHIOPIC SYLLABLE": 2,
}
_LONG_SIGNS = {"am", "amh", "chi", "cmn", "ii", "iii", "ja", "jpn", "ko", "kor", "ti", "tir", "wuu", "yue", "zh", "zho"}
_SURE_LETTERS = 20  # with fewer, a side may be a name or a title that both languages share


class Limits(NamedTuple):
    """What the rules go by."""

    config: CleaningConfig
    languages: tuple[str, str]  # of source and target


class Rule(NamedTuple):
    """A rule that a pair may break."""

    meaning: str  # what it drops
    key: str | None  # of data.cleaning, where null and false switch the rule off; None: it is always on
    breaks: Callable[[Pair, Limits], bool]


def letters(text: str) -> str:
    """The letters of a text and the marks upon them (Unicode categories L and M), of any script."""
    return text.translate(_LETTERS)


def length(text: str) -> int:
    """The characters of a text, each counted as about how many letters of an alphabet it stands for."""
    return len(text) if _ONE_EACH.fullmatch(text) else len(text.translate(_SPELLED_OUT))


def has_long_signs(language: str) -> bool:
    """Whether a language, by its code, is written in signs that stand for several letters."""
    return re.split("[-_]", language.lower())[0] in _LONG_SIGNS


def skeleton(text: str) -> str:
    """What near-duplicates share: the letters of the casefolded text in Unicode's form NFKC; without any, the text.

    After Wenzek et al. 2020 (CCNet, 3.1), who drop accents too and keep a placeholder for digits.
    """
    return letters(unicodedata.normalize("NFKC", text).casefold()) or text


def _empty(pair: Pair, _: Limits) -> bool:
    return not all(pair)


def _control_character(pair: Pair, limits: Limits) -> bool:
    return limits.config.control_characters and any(map(has_control, pair))


def _too_long(pair: Pair, limits: Limits) -> bool:
    return max(len(side.split()) for side in pair) > limits.config.max_words


def _ratio(pair: Pair, limits: Limits) -> bool:
    most = limits.config.max_ratio
    shorter, longer = sorted(map(length, pair))
    return most is not None and longer > most * shorter


def _few_letters(pair: Pair, limits: Limits) -> bool:
    """Tables, numbers, markup: the AlphabetRatioFilter of OpusFilter (Aulamo et al. 2020)."""
    least = limits.config.min_letter_ratio
    return least is not None and any(len(letters(side)) < least * max(1, _visible(side)) for side in pair)


def _copy(pair: Pair, limits: Limits) -> bool:
    """Untranslated text, which harms more than other noise (Khayrallah & Koehn 2018; Ott et al. 2018)."""
    return limits.config.copies and skeleton(pair[0]) == skeleton(pair[1])


def _repetition(pair: Pair, limits: Limits) -> bool:
    """Text that goes round in circles, of crawls and of translation systems, whose sign it is (Raunak et al. 2021)."""
    most = limits.config.max_repeats
    return most is not None and any(_repeated(most).search(side) for side in pair)


def _wrong_language(pair: Pair, limits: Limits) -> bool:
    """A side that is surely in another language: wherever there is doubt, the pair stays."""
    least = limits.config.wrong_language
    return least is not None and any(
        _is_other_language(side, language, least) for side, language in zip(pair, limits.languages, strict=True)
    )


PAIR_RULES = {
    "empty": Rule("a side has no text", None, _empty),
    "control_character": Rule("a side has control characters", "control_characters", _control_character),
    "too_long": Rule("a side has more than max_words words", "max_words", _too_long),
    "ratio": Rule("a side is more than max_ratio times as long as the other", "max_ratio", _ratio),
    "few_letters": Rule("of a side less than min_letter_ratio are letters", "min_letter_ratio", _few_letters),
    "copy": Rule("both sides have the same letters", "copies", _copy),
    "repetition": Rule("something comes more than max_repeats times in a row", "max_repeats", _repetition),
    "wrong_language": Rule("a side is in another language", "wrong_language", _wrong_language),
}


class _LetterTable(dict[int, int | None]):
    """For str.translate: letters and marks stay, all else goes; Unicode is asked once a character."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LM" else None
        return self[code]


_LETTERS = _LetterTable()


class _SpellingTable(dict[int, str]):
    """For str.translate: a text in which each sign takes as many places as letters that it is worth."""

    def __missing__(self, code: int) -> str:
        name = unicodedata.name(chr(code), "")
        worth = next((letters for begins, letters in _WORTH.items() if name.startswith(begins)), 1)
        self[code] = "x" * worth
        return self[code]


_SPELLED_OUT = _SpellingTable()


def _visible(text: str) -> int:
    """How many characters are no spaces of any kind."""
    return sum(map(len, text.split()))


@lru_cache
def _repeated(most: int) -> re.Pattern[str]:
    """Finds more than so many in a row: of a phrase of words, or of a string that begins with a letter, unspaced."""
    phrase = rf"(?<!\S)(\S++(?: \S++){{0,{_LONGEST_PHRASE - 1}}}?)(?: \1){{{most}}}(?!\S)"
    string = rf"([^\W\d_]\S{{2,{_LONGEST_STRING - 1}}}?)\2{{{most}}}"
    return re.compile(f"{phrase}|{string}")


def _is_other_language(text: str, language: str, least: float) -> bool:
    """Whether it is, with a probability of at least `least`, another language; varieties of one are not another."""
    if len(letters(text)) < _SURE_LETTERS:
        return False
    found, probability = identify(text)
    return probability >= least and known_as(found) not in (known_as(language), None)
