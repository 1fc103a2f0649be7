"""The filters: what each drops, and that nothing goes uncounted."""

from __future__ import annotations

import random
import re

import pytest

from nmt.config.schema import CleaningConfig
from nmt.data.cleaning import EXAMPLES, RULES, Cleaner, normalise_whitespace, tell

GOOD = ("ein guter Satz", "a good sentence")


def clean(pairs: list[tuple[str, str]], **settings: object) -> tuple[list[tuple[str, str]], Cleaner]:
    cleaner = Cleaner(CleaningConfig(**settings))  # type: ignore[arg-type]
    return list(cleaner.clean(pairs)), cleaner


@pytest.mark.parametrize(
    ("rule", "bad", "fine", "settings"),
    [
        ("empty", (" \t ", "text"), ("t", "text"), {}),
        ("empty", ("text", ""), ("text", "t"), {}),
        ("control_character", ("te\x07xt", "text"), ("te\u00a0xt", "text"), {}),
        ("control_character", ("text", "te\x85xt"), ("text", "te\u2028xt"), {}),
        ("too_long", ("a b c d", "a b c"), ("a b c", "d e f"), {"max_words": 3}),
        ("too_long", ("a b c", "a b c d"), ("a\u00a0b c d", "d e f"), {"max_words": 3}),
        ("ratio", ("abcd", "abcdefghi"), ("abcd", "abcdefgh"), {"max_ratio": 2.0}),
        ("ratio", ("abcdefghi", "abcd"), ("abcdefgh", "abcd"), {"max_ratio": 2.0}),
        ("duplicate", (f" {GOOD[0]}", GOOD[1]), (GOOD[0], "another sentence"), {}),
    ],
)
def test_each_rule(rule: str, bad: tuple[str, str], fine: tuple[str, str], settings: dict[str, object]) -> None:
    kept, cleaner = clean([GOOD, bad, fine], **settings)
    assert kept == [GOOD, fine]
    assert cleaner.dropped == {rule: 1}
    report = cleaner.report()
    assert (report["read"], report["kept"]) == (3, 2)
    assert report["dropped"] == {name: int(name == rule) for name in RULES}
    assert list(report["examples"]) == [rule]


def test_rules_can_be_switched_off() -> None:
    pairs = [GOOD, GOOD, ("x", "a much longer side"), ("bell\x07", "bell\x07")]
    kept, _ = clean(pairs, deduplicate=False, max_ratio=None, control_characters=False)
    assert kept == pairs


def test_ascii_white_space_is_normalised_and_other_spaces_stay() -> None:
    assert normalise_whitespace(" \ta\v\fb  c\r\n") == "a b c"
    assert normalise_whitespace("a\u00a0 b\u2009\u3000c") == "a\u00a0 b\u2009\u3000c"
    assert clean([("  two \t words", "zwei\r Wörter ")])[0] == [("two words", "zwei Wörter")]


def test_normalisation_is_its_definition_for_any_text() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        text = "".join(draw.choices("  \t\n\r\v\fabc\u00a0\u2028\x07\x1c", k=draw.randint(0, 12)))
        assert normalise_whitespace(text) == re.sub("[ \t\n\r\v\f]+", " ", text).strip(" "), repr(text)


def test_duplicates_are_of_both_sides() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "a"), ("a b", "c"), ("a", "b c"), ("a", "b")]
    kept, cleaner = clean(pairs)
    assert kept == pairs[:-1]
    assert cleaner.dropped == {"duplicate": 1}


def test_pairs_dropped_for_their_tokens_are_counted_later() -> None:
    kept, cleaner = clean([GOOD, ("b", "c"), ("", "")])
    cleaner.drop_too_many_tokens(*kept[0])
    report = cleaner.report()
    assert (report["read"], report["kept"], sum(report["dropped"].values())) == (3, 1, 2)
    assert report["dropped"]["too_many_tokens"] == 1
    assert report["examples"]["too_many_tokens"] == [list(GOOD)]


def test_few_and_short_examples_are_kept() -> None:
    _, cleaner = clean([("", "word " * 1000)] * 10)
    examples = cleaner.report()["examples"]["empty"]
    assert len(examples) == EXAMPLES
    assert all(len(target) <= 200 for _, target in examples)


def test_the_report_is_told_in_words() -> None:
    said: list[str] = []
    _, cleaner = clean([GOOD, GOOD, GOOD, ("", "leer")])
    tell(cleaner.report(), said.append)
    assert "4 read, 1 kept, 3 dropped" in said[0]
    assert [line.split()[:2] for line in said[1:]] == [["1", "empty"], ["2", "duplicate"]]
    assert "ein guter Satz" in said[2]
