"""The cleaning rules that look at one pair alone: a function each, listed in PAIR_RULES in the order of application.

To add a rule, write a function and add a line to PAIR_RULES and a key to CleaningConfig; counts, examples, reports and
worker processes pick it up from there. docs/prepare.md lists thresholds from the literature.
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
from nmt.data.sources.source import Pair

_LONGEST_PIECE = 16  # characters of the longest piece that SentencePiece learns; words are shorter in every language
_LONGEST_PHRASE = 10  # words of the longest phrase whose repetition is looked for
_LONGEST_STRING = 20  # characters of the longest string whose repetition is looked for, without spaces
_ONE_EACH = re.compile(r"[\x00-\u11ff\u2000-\u2bff]*+")  # alphabets and punctuation: each character is one letter
# How many English letters a character stands for, by the beginning of its Unicode name (sources: docs/prepare.md).
_WORTH = {
    "CJK UNIFIED IDEOGRAPH": 4,
    "CJK COMPATIBILITY IDEOGRAPH": 4,
    "IDEOGRAPHIC ITERATION MARK": 4,
    "HANGUL SYLLABLE": 3,
    "YI SYLLABLE": 3,
    "HIRAGANA LETTER": 2,
    "HIRAGANA ITERATION MARK": 2,
    "HIRAGANA VOICED ITERATION MARK": 2,
    "KATAKANA LETTER": 2,
    "KATAKANA ITERATION MARK": 2,
    "KATAKANA VOICED ITERATION MARK": 2,
    "HALFWIDTH KATAKANA LETTER": 2,
    "KATAKANA-HIRAGANA PROLONGED SOUND MARK": 2,
    "ETHIOPIC SYLLABLE": 2,
}
_LONG_SIGNS = {"am", "amh", "chi", "cmn", "ii", "iii", "ja", "jpn", "ko", "kor", "ti", "tir", "wuu", "yue", "zh", "zho"}
_SURE_LETTERS = 20  # a side with fewer letters may be a name or a title that is the same in both languages


class Limits(NamedTuple):
    """The settings that the rules are applied with."""

    config: CleaningConfig
    languages: tuple[str, str]  # of source and target


class Rule(NamedTuple):
    """A rule that a pair may break."""

    meaning: str  # why it drops a pair, for reports
    key: str | None  # the key of data.cleaning that null or false switch off; None: the rule is always on
    breaks: Callable[[Pair, Limits], bool]


def letters(text: str) -> str:
    """Return the letters of a text, in any script, with their combining marks (Unicode categories L and M)."""
    return text.translate(_LETTERS)


def length(text: str) -> int:
    """Return the length of a text in letters of an alphabet; a Chinese character, for example, counts as four."""
    return len(text) if _ONE_EACH.fullmatch(text) else len(text.translate(_SPELLED_OUT))


def has_long_signs(language: str) -> bool:
    """Return whether a language, given by its code, is written in characters that each stand for several letters."""
    return re.split("[-_]", language.lower())[0] in _LONG_SIGNS


def skeleton(text: str) -> str:
    """Return the casefolded NFKC letters of a text, which near-duplicates share; a text without letters as it is.

    Similar to Wenzek et al. 2020 (CCNet, 3.1), who also drop accents and keep a placeholder for digits.
    """
    return letters(unicodedata.normalize("NFKC", text).casefold()) or text


def _empty(pair: Pair, _: Limits) -> bool:
    return not all(pair)


def _control_character(pair: Pair, limits: Limits) -> bool:
    return limits.config.control_characters and any(map(has_control, pair))


def _too_long(pair: Pair, limits: Limits) -> bool:
    """Return whether a side has too many words, or so many characters that it has too many tokens for sure.

    The latter never reach the tokenizer, whose training fails on a word of 100,000 letters.
    """
    characters, words = _LONGEST_PIECE * limits.config.max_tokens, limits.config.max_words
    return any(len(side) > characters or len(side.split()) > words for side in pair)


def _ratio(pair: Pair, limits: Limits) -> bool:
    most = limits.config.max_ratio
    shorter, longer = sorted(map(length, pair))
    return most is not None and longer > most * shorter


def _few_letters(pair: Pair, limits: Limits) -> bool:
    """Return whether a side is mostly numbers or markup (AlphabetRatioFilter of OpusFilter, Aulamo et al. 2020)."""
    least = limits.config.min_letter_ratio
    return least is not None and any(len(letters(side)) < least * max(1, _visible(side)) for side in pair)


def _copy(pair: Pair, limits: Limits) -> bool:
    """Return whether the text is untranslated.

    Copies harm more than other noise (Khayrallah & Koehn 2018; Ott et al. 2018).
    """
    return limits.config.copies and skeleton(pair[0]) == skeleton(pair[1])


def _repetition(pair: Pair, limits: Limits) -> bool:
    """Return whether a side repeats itself, as crawled pages and translation systems do (Raunak et al. 2021)."""
    most = limits.config.max_repeats
    return most is not None and any(_repeated(most).search(side) for side in pair)


def _wrong_language(pair: Pair, limits: Limits) -> bool:
    """Return whether a side is almost certainly in another language; in doubt the pair is kept."""
    least = limits.config.wrong_language
    return least is not None and any(
        _is_other_language(side, language, least) for side, language in zip(pair, limits.languages, strict=True)
    )


PAIR_RULES = {
    "empty": Rule("a side has no text", None, _empty),
    "control_character": Rule("a side has control characters", "control_characters", _control_character),
    "too_long": Rule("a side has more than max_words words or 16 * max_tokens characters", "max_words", _too_long),
    "ratio": Rule("a side is more than max_ratio times as long as the other", "max_ratio", _ratio),
    "few_letters": Rule("the share of letters in a side is below min_letter_ratio", "min_letter_ratio", _few_letters),
    "copy": Rule("both sides have the same letters", "copies", _copy),
    "repetition": Rule("the same text comes more than max_repeats times in a row", "max_repeats", _repetition),
    "wrong_language": Rule("a side is in another language", "wrong_language", _wrong_language),
}


class _LetterTable(dict[int, int | None]):
    """A table for str.translate that keeps letters and marks only; each character's category is looked up once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LM" else None
        return self[code]


_LETTERS = _LetterTable()


class _SpellingTable(dict[int, str]):
    """A table for str.translate that replaces each character by an x for every letter it stands for."""

    def __missing__(self, code: int) -> str:
        name = unicodedata.name(chr(code), "")
        worth = next((letters for begins, letters in _WORTH.items() if name.startswith(begins)), 1)
        self[code] = "x" * worth
        return self[code]


_SPELLED_OUT = _SpellingTable()


def _visible(text: str) -> int:
    """Return the number of characters other than white space of any kind."""
    return sum(map(len, text.split()))


@lru_cache
def _repeated(most: int) -> re.Pattern[str]:
    """Return a pattern for text that comes more than `most` times in a row.

    The text is a phrase of words between spaces, or a string without spaces that begins with a letter.
    """
    phrase = rf"(?<!\S)(\S++(?: \S++){{0,{_LONGEST_PHRASE - 1}}}?)(?: \1){{{most}}}(?!\S)"
    string = rf"([^\W\d_]\S{{2,{_LONGEST_STRING - 1}}}?)\2{{{most}}}"
    return re.compile(f"{phrase}|{string}")


def _is_other_language(text: str, language: str, least: float) -> bool:
    """Return whether `text` is in another language than `language` with a probability of at least `least`.

    Varieties of the same language count as one; text with few letters is never judged.
    """
    if len(letters(text)) < _SURE_LETTERS:
        return False
    found, probability = identify(text)
    return probability >= least and known_as(found) not in (known_as(language), None)
