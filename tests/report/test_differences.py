"""Test the choice of the sentences that a report shows, and the marks on their words."""

from __future__ import annotations

import pytest

from nmt.evaluation.sets import EvaluationSet
from nmt.report.attention import choose_sentences
from nmt.report.differences import largest_differences, mark

REFERENCES = ["the cat sat down", "a dog", "it rains all day long", "same"]
FIRST = ["the cat sat down", "a cat", "it rains all day long", "same"]
TEST_SET = EvaluationSet("test", REFERENCES, REFERENCES)
SECOND = ["the cat sat down", "a dog", "snow", "same"]


def test_the_widest_spread_comes_first_and_equal_answers_are_left_out() -> None:
    differences = largest_differences([("one", FIRST), ("two", SECOND)], TEST_SET)
    assert [difference.line for difference in differences] == [3, 2]
    assert differences[0].spread > differences[1].spread > 0
    assert [(answer.system, answer.text) for answer in differences[0].answers] == [("one", FIRST[2]), ("two", "snow")]
    assert differences[0].answers[0].chrf == pytest.approx(100)


def test_at_most_count_sentences_are_returned() -> None:
    assert len(largest_differences([("one", FIRST), ("two", SECOND)], TEST_SET, count=1)) == 1


@pytest.mark.parametrize(
    ("hypothesis", "reference", "language", "unmatched"),
    [
        ("the big cat sat", "the cat sat down", "en", ["big"]),
        ("x y", "a b", "en", ["x y"]),
        ("", "a b", "en", []),
        ("a b", "a b", "en", []),
        ("今天天气好", "今天气温好", "zh", None),
    ],
)
def test_spans_cover_the_text_and_mark_what_the_reference_lacks(
    hypothesis: str, reference: str, language: str, unmatched: list[str] | None
) -> None:
    spans = mark(hypothesis, reference, language)
    assert ("" if language == "zh" else " ").join(span.text for span in spans) == hypothesis
    if unmatched is not None:
        assert [span.text for span in spans if not span.matched] == unmatched
    else:
        assert {span.matched for span in spans} == {True, False}


def test_a_short_a_median_and_a_long_sentence_are_chosen() -> None:
    lengths = list(range(101))
    shown = [True] * 101
    assert choose_sentences(lengths, shown) == [11, 51, 96]
    shown[10] = False
    assert 11 not in choose_sentences(lengths, shown)
    assert choose_sentences([5], [True]) == [1]
    assert choose_sentences([5], [False]) == []
