"""Spelled-out cardinal and ordinal numbers in German and English."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GERMAN = _listed(
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
)
_GERMAN_TENS = _listed("- zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_ENGLISH = _listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ENGLISH_TENS = _listed("- ten twenty thirty forty fifty sixty seventy eighty ninety")
_GERMAN_ORDINALS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
_ENGLISH_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
_ENGLISH_ORDINALS |= {"nine": "ninth", "twelve": "twelfth"}


def _check(number: int) -> None:
    if not 0 <= number <= 999_999:
        raise ValueError(f"{number} is not between 0 and 999999")


def _german_stem(number: int) -> str:
    """Return the number as the first part of a longer word: ein, not eins."""
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        return ("" if thousands == 1 else _german_stem(thousands)) + "tausend" + (_inner(rest) if rest else "")
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        return ("" if hundreds == 1 else _GERMAN[hundreds]) + "hundert" + (_german_stem(rest) if rest else "")
    if number < 20:
        return _GERMAN[number]
    tens, units = divmod(number, 10)
    return (_GERMAN[units] + "und" if units else "") + _GERMAN_TENS[tens]


def _inner(rest: int) -> str:
    """Return the part after the thousands, where one hundred is einhundert: tausendeinhundert."""
    return ("ein" if 100 <= rest < 200 else "") + _german_stem(rest)


def german_number(number: int) -> str:
    """Return a cardinal from 0 to 999,999 as one German word: 21 is einundzwanzig, 1,001 tausendeins."""
    _check(number)
    return _german_stem(number) + ("s" if number % 100 == 1 else "")


def english_number(number: int) -> str:
    """Return a cardinal from 0 to 999,999 in British English: 21 is twenty-one, 101 one hundred and one."""
    _check(number)
    if number < 20:
        return _ENGLISH[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _ENGLISH_TENS[tens] + (f"-{_ENGLISH[units]}" if units else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_ENGLISH[hundreds]} hundred" + (f" and {english_number(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    joint = " and " if 0 < rest < 100 else " "
    return f"{english_number(thousands)} thousand" + (f"{joint}{english_number(rest)}" if rest else "")


def german_year(year: int) -> str:
    """Return a year from 1100 to 2099: neunzehnhundertfünfundachtzig, zweitausendzehn."""
    if not 1100 <= year <= 2099:
        raise ValueError(f"{year} is not between 1100 and 2099")
    if year >= 2000:
        return german_number(year)
    rest = year % 100
    return _german_stem(year // 100) + "hundert" + (german_number(rest) if rest else "")


def english_year(year: int) -> str:
    """Return a year from 1100 to 2099: nineteen eighty-five, two thousand and ten."""
    if not 1100 <= year <= 2099:
        raise ValueError(f"{year} is not between 1100 and 2099")
    if year >= 2000:
        return english_number(year)
    century, rest = english_number(year // 100), year % 100
    if not rest:
        return f"{century} hundred"
    return f"{century} {'oh ' if rest < 10 else ''}{english_number(rest)}"


def german_ordinal(number: int) -> str:
    """Return the stem of an ordinal from 1 to 99, which takes adjective endings: dritt-, zwanzigst-."""
    if not 1 <= number <= 99:
        raise ValueError(f"{number} is not between 1 and 99")
    return _GERMAN_ORDINALS.get(number, _german_stem(number) + ("t" if number < 20 else "st"))


def english_ordinal(number: int) -> str:
    """Return an ordinal from 1 to 99: third, twenty-first."""
    if not 1 <= number <= 99:
        raise ValueError(f"{number} is not between 1 and 99")
    head, hyphen, last = english_number(number).rpartition("-")
    if last.endswith("y"):
        return f"{last[:-1]}ieth"
    return head + hyphen + _ENGLISH_ORDINALS.get(last, f"{last}th")
