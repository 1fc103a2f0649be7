"""Tests of links in Pharaoh format and of the alignment error rate (Och & Ney 2003)."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.data.alignments import format_links, parse_links, read_gold
from nmt.errors import NmtError
from nmt.evaluation.alignment_error import alignment_scores, check_gold


def test_links_are_sure_or_possible() -> None:
    gold = parse_links("0-0 2?1 10p3")
    assert gold.sure == {(0, 0)}
    assert gold.possible == {(0, 0), (2, 1), (10, 3)}
    assert parse_links("").possible == set()


def test_links_are_written_in_order() -> None:
    assert format_links([(2, 0), (0, 1), (10, 3)]) == "0-1 2-0 10-3"


def test_a_token_that_is_no_link_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gold"
    path.write_text("0-0 1-1\n0-0 1:2\n")
    with pytest.raises(NmtError, match=r"gold, line 2: '1:2'"):
        read_gold(path)


def test_scores_by_hand() -> None:
    gold = [parse_links("0-0 1-1 2?1"), parse_links("0-0")]
    alignments = [{(0, 0), (2, 1), (3, 3)}, {(1, 0)}]
    # |A| = 4 links; |S| = 3 sure links, 1 of them in A; |P| = 4 possible links, 2 of them in A
    scores = alignment_scores(alignments, gold)
    assert scores.precision == pytest.approx(2 / 4)
    assert scores.recall == pytest.approx(1 / 3)
    assert scores.aer == pytest.approx(1 - (1 + 2) / (4 + 3))
    assert (scores.links, scores.sentences) == (4, 2)


def test_sure_links_alone_have_no_error() -> None:
    gold = [parse_links("0-0 1-2 3?3")]
    assert alignment_scores([{(0, 0), (1, 2)}], gold).aer == 0
    assert alignment_scores([{(0, 0), (1, 2), (3, 3)}], gold).aer == 0
    assert alignment_scores([set()], gold).aer == 1


def test_gold_without_sure_links_is_refused() -> None:
    with pytest.raises(NmtError, match="no sure links"):
        alignment_scores([{(0, 0)}], [parse_links("0?0")])


def test_gold_of_another_tokenisation_is_refused() -> None:
    gold = [parse_links("0-0"), parse_links("0-0 1-4")]
    check_gold(gold, [(1, 1), (2, 5)], "gold")
    with pytest.raises(NmtError, match=r"gold, line 2: the link 1-4 names target word 4, but .* has 4 words"):
        check_gold(gold, [(1, 1), (2, 4)], "gold")
    with pytest.raises(NmtError, match="2 lines of gold links for 1 sentence"):
        check_gold(gold, [(1, 1)], "gold")
