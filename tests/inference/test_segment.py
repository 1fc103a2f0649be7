"""Tests of splitting long lines: no text is lost, cuts are where a reader would pause, and joining adds spaces."""

from __future__ import annotations

import random

import pytest

from nmt.inference.segment import join_translations, split_to_fit


def split(line: str, words: int, language: str = "en") -> list[str]:
    return split_to_fit(line, lambda text: len(text.split()) <= words, language)


def split_characters(line: str, characters: int, language: str = "en") -> list[str]:
    return split_to_fit(line, lambda text: len(text) <= characters, language)


def test_a_line_that_fits_stays_whole() -> None:
    assert split("One. Two. Three.", 3) == ["One. Two. Three."]


def test_sentences_stand_alone_where_a_line_does_not_fit() -> None:
    assert split("One two. Three! Four five? Six seven eight. Nine.", 4) == [
        "One two. ",
        "Three! ",
        "Four five? ",
        "Six seven eight. ",
        "Nine.",
    ]
    assert split('He said: "No." She left. They stayed.', 5) == ['He said: "No." ', "She left. ", "They stayed."]


def test_a_long_sentence_is_cut_at_clauses_then_words_then_characters() -> None:
    assert split("Ab cd ef, gh ij kl; mn opq. Qrs.", 4) == ["Ab cd ef, ", "gh ij kl; ", "mn opq. ", "Qrs."]
    assert split("a b c d e, f", 2) == ["a b ", "c d ", "e, ", "f"]
    assert split_characters("abcdefgh ij", 3) == ["abc", "def", "gh ", "ij"]


def test_abbreviations_initials_ordinals_and_numbers_do_not_end_a_sentence() -> None:
    assert split("Mit J. S. Bach und Dr. Kohl am 3. Mai z. B. hier. Dann 3.5 Uhr.", 14, "de") == [
        "Mit J. S. Bach und Dr. Kohl am 3. Mai z. B. hier. ",
        "Dann 3.5 Uhr.",
    ]


def test_abbreviations_are_those_of_the_language() -> None:
    line = "Er kam bzw. Sie kam."
    assert split(line, 4, "de") == ["Er kam bzw. Sie ", "kam."]  # one sentence: cut between words
    assert split(line, 4, "en") == ["Er kam bzw. ", "Sie kam."]
    assert split(line, 4, "de-AT") == split(line, 4, "de")


def test_scripts_without_spaces() -> None:
    assert split_characters("今天天气很好。我们去公园，好吗？好。", 8, "zh") == [
        "今天天气很好。",
        "我们去公园，",
        "好吗？",
        "好。",
    ]
    assert split_characters("彼は「行く。」と言った。私も行く。", 12, "ja") == [
        "彼は「行く。」",
        "と言った。",
        "私も行く。",
    ]


def test_sentences_are_found_the_same_in_a_line_of_any_length() -> None:
    sentence = "Das ist z. B. ein Satz. "
    assert split(sentence * 1000, 6, "de") == [sentence] * 1000
    long = "Ein " + "sehr " * 1000 + "langer Satz. "
    assert split(long + sentence * 3, 1003, "de") == [long, *[sentence] * 3]


def test_marks_stay_with_their_character() -> None:
    assert split_characters("e\u0301e\u0301e\u0301", 3) == ["e\u0301", "e\u0301", "e\u0301"]
    family = "👨\u200d👩\u200d👧"
    assert split_characters(family * 2, 5) == [family, family]
    assert split_characters(family, 2) == [family]  # a single character on the screen is not cut


def test_nothing_is_lost() -> None:
    source = random.Random(3)
    for _ in range(300):
        line = "".join(source.choice("ab .,;!? 。、\u3000-–\té\u0301") for _ in range(source.randrange(120)))
        for limit in (1, 4, 17):
            pieces = split_characters(line, limit)
            assert "".join(pieces) == line
            assert all(pieces) or pieces == [""]
            assert all(len(piece) <= limit or piece[1:].strip("\u0301") == "" for piece in pieces)


def test_an_empty_line_between_sentences_keeps_them_apart() -> None:
    text = "A heading without an end\n\nSome text that follows it."
    pieces = split_to_fit(text, lambda piece: len(piece) < 40, "en")
    assert "".join(pieces) == text and all(map(str.strip, pieces)) and len(pieces) == 2
    assert join_translations(pieces, ["Titel", "Text."]) == "Titel Text."


def test_far_fewer_looks_than_characters() -> None:
    looks = []

    def fits(text: str) -> bool:
        looks.append(len(text))
        return len(text) <= 100

    assert len(split_to_fit("x" * 100_000, fits, "en")) == 1000
    assert sum(looks) < 100 * 100_000


@pytest.mark.parametrize(
    ("sources", "translations", "joined"),
    [
        (["One. ", "Two."], ["Eins.", "Zwei."], "Eins. Zwei."),
        (["One. ", "- ", "Two."], ["Eins.", "", "Zwei."], "Eins. Zwei."),
        (["abc", "def"], ["uvw", "xyz"], "uvwxyz"),
        (["一。", "二。"], ["One.", "Two."], "One. Two."),
        (["One. ", "Two."], ["一。", "二。"], "一。二。"),
        (["One. ", "Two."], ["하나.", "둘."], "하나. 둘."),
        (["สวัสดีครับผมชื่อ", "จอห์น"], ["Hello, my name is", "John."], "Hello, my name is John."),
        (["One. ", "Two."], ["", ""], ""),
        (
            ["他说：“你好。”", "然后他走了。", "我们也走了！"],
            ["He said hello.", "Then he left.", "We left."],
            "He said hello. Then he left. We left.",
        ),
        (["你好!", "再见!"], ["Hello!", "Bye!"], "Hello! Bye!"),
        (["वह गया।", "फिर"], ["He went.", "Then"], "He went. Then"),
        (["ذهب؟", "ثم"], ["Did he go?", "Then"], "Did he go? Then"),
        (["Das ist gut.(1)", "Dann"], ["This is good.(1)", "Then"], "This is good.(1) Then"),
    ],
)
def test_join(sources: list[str], translations: list[str], joined: str) -> None:
    assert join_translations(sources, translations) == joined
