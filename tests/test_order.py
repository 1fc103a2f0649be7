"""Test the order of the tests, which keeps two workers busy to the end."""

from __future__ import annotations

from tests.conftest import LONGEST, TESTS


def test_the_longest_files_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
