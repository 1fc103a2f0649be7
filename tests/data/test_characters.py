"""Compare the foreign characters with Unicode's own tables and with the lines that Python splits text into."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from nmt.data.characters import LINE_ENDS, as_line, find_foreign, has_control, name_of

EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def test_line_ends_are_where_python_cuts_lines() -> None:
    assert set(LINE_ENDS) == {character for character in EVERY if len(f"a{character}b".splitlines()) > 1}


def test_foreign_are_controls_but_the_tab_line_ends_and_noncharacters() -> None:
    controls = {character for character in EVERY if unicodedata.category(character) == "Cc"} - {"\t"}
    nonchars = {
        character for character in EVERY if ord(character) & 0xFFFE == 0xFFFE or "\ufdd0" <= character <= "\ufdef"
    }
    assert len(nonchars) == 66
    foreign = {character for character in EVERY if find_foreign(f"ä{character}")}
    assert foreign == controls | nonchars | set(LINE_ENDS)
    assert {character for character in EVERY if has_control(character)} == foreign - set(LINE_ENDS)
    assert {character for character in EVERY if as_line(character) != character} == foreign


@pytest.mark.parametrize("text", ["", "a b", "a\u00a0b\t", "a\x00\ufdd0b\r\nc\u2028", "\x85" * 3])
def test_a_text_is_made_one_line_of_as_many_characters(text: str) -> None:
    line = as_line(text)
    assert find_foreign(line) is None and len(line) == len(text) and len(line.splitlines()) <= 1
    assert all(new == old or (new == " " and find_foreign(old)) for new, old in zip(line, text, strict=True))


def test_every_foreign_character_has_a_name() -> None:
    assert [name_of(character) for character in "\r\u2028\x07\ufdd0"] == [
        "carriage return",
        "LINE SEPARATOR",
        "a control character",
        "a noncharacter",
    ]
