"""Test the cleaning rules: the pairs that each drops, and that every pair is counted."""

from __future__ import annotations

import pickle
import random
import re
import sys

import pytest

from nmt.config.data import CleaningConfig, DataConfig
from nmt.config.languages import IDENTIFIED
from nmt.data import language_id
from nmt.data.cleaning import EXAMPLES, RULES, Cleaner, Rules, normalise_whitespace, switched_off, tell
from nmt.errors import ConfigError, NmtError

GOOD = ("ein guter Satz", "a good sentence")
NEAR = {"near_duplicates": True}


def clean(pairs: list[tuple[str, str]], **settings: object) -> tuple[list[tuple[str, str]], Cleaner]:
    return clean_with(CleaningConfig(**settings), pairs)  # type: ignore[arg-type]


def clean_with(
    config: CleaningConfig, pairs: list[tuple[str, str]], languages: tuple[str, str] = ("de", "en")
) -> tuple[list[tuple[str, str]], Cleaner]:
    rules, cleaner = Rules(config, languages), Cleaner(config)
    kept = [pair[:2] for pair in map(rules.examine, pairs) if cleaner.keeps(pair)]
    return kept, cleaner


@pytest.mark.parametrize(
    ("rule", "bad", "fine", "settings"),
    [
        ("empty", (" \t ", "text"), ("t", "text"), {}),
        ("empty", ("text", ""), ("text", "t"), {}),
        ("control_character", ("te\x07xt", "text"), ("te\u00a0xt", "text"), {}),
        ("control_character", ("text", "te\x92xt"), ("text", "te\u202fxt"), {}),
        ("control_character", ("te\ufdd0xt", "text"), ("te\ufffdxt", "text"), {}),
        ("too_long", ("a b c d", "a b c"), ("a b c", "d e f"), {"max_words": 3}),
        ("too_long", ("a b c", "a b\u00a0c d"), ("a\u200db c d", "d e f"), {"max_words": 3}),
        ("too_long", ("a" * 33, "b" * 32), ("a" * 32, "b" * 32), {"max_tokens": 2}),
        ("too_long", ("长" * 4097, "long"), ("长" * 1000, "long"), {"max_ratio": None}),
        ("ratio", ("abcd", "abcdefghi"), ("abcd", "abcdefgh"), {"max_ratio": 2.0}),
        ("ratio", ("abcdefghi", "abcd"), ("abcdefgh", "abcd"), {"max_ratio": 2.0}),
        ("few_letters", ("abc 1234", "abcdef"), ("abcd 1234", "abcd 1234"), {"min_letter_ratio": 0.5}),
        ("few_letters", ("abc", "a %%"), ("abc", "a b %"), {"min_letter_ratio": 0.5}),
        ("few_letters", ("Wort", "\u00a0"), ("Wort", "x"), {"min_letter_ratio": 0.5}),
        ("few_letters", ("हिन्दी १२३४५६७", "Hindi"), ("हिन्दी १२३४५६", "Hindi"), {"min_letter_ratio": 0.5}),
        ("copy", ("Kein Wort.", "kein WORT!"), ("Kein Wort.", "no word."), {"copies": True}),
        ("copy", ("1995", "1995"), ("1995", "1996"), {"copies": True}),
        ("repetition", ("so so so so", "so"), ("so so so", "so"), {"max_repeats": 3, "max_ratio": None}),
        (
            "repetition",
            ("a", "to be a b, a b, a b, then"),
            ("a", "a b, a b, then"),
            {"max_repeats": 2, "max_ratio": 99},
        ),
        ("repetition", ("哈哈哈哈哈哈哈哈哈", "ha ha, ha"), ("哈哈哈哈哈哈哈哈", "ha ha, ha"), {"max_repeats": 2}),
        ("repetition", ("yes", "no, no, no, no, no"), ("yes", "the cat, the dog"), {"max_repeats": 2, "max_ratio": 9}),
        ("near_duplicate", ("Ein guter Satz!", "A good sentence, 7."), (GOOD[0], "a good sentences"), NEAR),
        ("near_duplicate", ("EINGUTERSATZ", "a good sentence"), ("ein guter Sätz", GOOD[1]), NEAR),
        ("duplicate", GOOD, ("7", "7"), NEAR),
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
    pairs = [GOOD, GOOD, ("x", "a much longer side")]
    kept, _ = clean(pairs, deduplicate=False, max_ratio=None)
    assert kept == pairs


def test_what_no_line_of_text_has_is_dropped_or_mended_and_counted() -> None:
    pairs = [GOOD, ("eine\u2028Zeile\x85", "a\x1eline"), ("ein\x07Ton", "a\x92sound"), ("zwei  \t Wörter", "two words")]
    kept, cleaner = clean(pairs)
    assert kept == [GOOD, ("eine Zeile", "a line"), ("zwei Wörter", "two words")]
    assert (cleaner.report()["mended"], cleaner.dropped) == (1, {"control_character": 1})
    kept, cleaner = clean(pairs, control_characters=False)
    assert kept == [GOOD, ("eine Zeile", "a line"), ("ein Ton", "a sound"), ("zwei Wörter", "two words")]
    assert (cleaner.report()["mended"], cleaner.dropped) == (2, {})
    again = Cleaner(CleaningConfig())
    again.restore(cleaner.report())
    assert again.report() == cleaner.report()
    said: list[str] = []
    tell(cleaner.report(), said.append)
    assert "2 mended" in said[1]


def test_white_space_that_is_no_text_is_normalised_and_other_spaces_stay() -> None:
    assert normalise_whitespace(" \ta\v\fb  c\u2029\x85\r\n") == "a b c"
    assert normalise_whitespace("a\u00a0 b\u2009\u3000c") == "a\u00a0 b\u2009\u3000c"
    assert clean([("  two \t words", "zwei\r Wörter ")])[0] == [("two words", "zwei Wörter")]


def test_normalisation_is_its_definition_for_any_text() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        text = "".join(draw.choices("  \t\n\r\v\fabc\u00a0\u2028\x07\x1c\x1f", k=draw.randint(0, 12)))
        assert normalise_whitespace(text) == re.sub("[ \t]+", " ", " ".join(text.splitlines())).strip(" "), repr(text)


def test_duplicates_are_of_both_sides() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "a"), ("a b", "c"), ("a", "b c"), ("a", "b")]
    kept, cleaner = clean(pairs)
    assert kept == pairs[:-1]
    assert cleaner.dropped == {"duplicate": 1}


def test_near_duplicates_are_told_by_their_letters_in_any_script() -> None:
    composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
    pairs = [
        ("1995", "1995"),
        ("1996", "1996"),
        ("Straße", composed),
        ("STRASSE", decomposed),
        ("हिन्दी", "a"),
        ("हनद", "a"),
    ]
    kept, cleaner = clean(pairs, near_duplicates=True, deduplicate=False, max_ratio=None)
    assert kept == [pair for pair in pairs if pair[0] != "STRASSE"]
    assert cleaner.dropped == {"near_duplicate": 1}


def test_near_duplicates_are_duplicates_too() -> None:
    kept, cleaner = clean([GOOD, GOOD], near_duplicates=True, deduplicate=False)
    assert kept == [GOOD] and cleaner.dropped == {"near_duplicate": 1}


GERMAN = "Der Mann geht mit seinem Hund über die Straße."
ENGLISH = "The man crosses the street together with his dog."


@pytest.mark.parametrize(
    ("pair", "wrong"),
    [
        ((GERMAN, ENGLISH), False),
        ((ENGLISH, ENGLISH), True),
        ((GERMAN, GERMAN), True),
        ((GERMAN, "L’homme traverse la rue en compagnie de son chien."), True),
        (("Süddeutsche Zeitung", "Süddeutsche Zeitung"), False),  # names
        (("Barack Obama, Angela Merkel, Paris", "Barack Obama, Angela Merkel, Paris"), False),
        (("Guten Tag!", "Guten Tag!"), False),  # too short to be sure
        (("3 + 5 = 8, 030 / 123456-789", "3 + 5 = 8, 030 / 123456-789"), False),
    ],
)
def test_only_what_is_surely_another_language_is_dropped(pair: tuple[str, str], wrong: bool) -> None:
    pytest.importorskip("py3langid")
    kept, cleaner = clean([pair], wrong_language=0.9)
    assert cleaner.dropped == ({"wrong_language": 1} if wrong else {})
    assert kept == ([] if wrong else [pair])


def test_varieties_of_one_language_are_not_told_apart() -> None:
    pytest.importorskip("py3langid")
    nynorsk = "Eg veit ikkje kva dei har tenkt å gjere med den gamle båten til far min."
    for language, other in (("nb", 0), ("no", 0), ("nn", 0), ("da", 1), ("de-AT", 1)):
        kept, _ = clean_with(CleaningConfig(wrong_language=0.6), [(nynorsk, ENGLISH)], (language, "en"))
        assert len(kept) == 1 - other


def test_without_the_extra_language_identification_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    language_id.classifier.cache_clear()
    with pytest.raises(NmtError, match=r"pip install -e '\.\[langid\]'"):
        Rules(CleaningConfig(wrong_language=0.9), ("de", "en"))


def test_languages_that_cannot_be_told_are_refused_with_those_that_can() -> None:
    def config(source: str, target: str, probability: float | None) -> DataConfig:
        cleaning = CleaningConfig(wrong_language=probability)
        return DataConfig(source_language=source, target_language=target, path="x", cleaning=cleaning)

    for source, target in (("de", "en"), ("pt-BR", "zh_Hant"), ("nb", "sh"), ("SR", "EN")):
        config(source, target, 0.9).check()
    config("de", "tlh", None).check()
    with pytest.raises(ConfigError, match=r"data\.target_language=tlh; the languages it knows are ace, af, .* zu$"):
        config("de", "tlh", 0.9).check()


def test_the_known_languages_are_those_of_the_library() -> None:
    langid = pytest.importorskip("py3langid").langid
    labels = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE).labels
    assert set(labels) - {"zxx"} == IDENTIFIED


def test_rules_give_the_same_answers_in_another_process() -> None:
    rules = Rules(CleaningConfig(near_duplicates=True, max_repeats=2), ("de", "en"))
    other = pickle.loads(pickle.dumps(rules))
    for pair in [GOOD, ("", "x"), ("na na na", "na"), ("1", "2")]:
        assert other.examine(pair) == rules.examine(pair)


def test_a_rule_can_be_told_to_be_off() -> None:
    off = ["few_letters", "copy", "repetition", "wrong_language", "near_duplicate"]
    assert switched_off(CleaningConfig()) == off
    every = CleaningConfig(min_letter_ratio=0.1, copies=True, max_repeats=9, wrong_language=1.0, near_duplicates=True)
    assert switched_off(every) == []
    assert "ratio" in switched_off(CleaningConfig(max_ratio=None))


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
