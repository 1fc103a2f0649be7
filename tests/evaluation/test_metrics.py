"""Tests that scores equal those of the `sacrebleu` command to the last digit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.errors import NmtError, UsageError
from nmt.evaluation.metrics import (
    build_metric,
    check_counts,
    corpus_bleu,
    length_ratio,
    metrics_in_order,
    score,
    sentence_bleu,
    sentence_chrf,
)
from nmt.evaluation.significance import Statistics
from tests.evaluation.runs import REFERENCES, write_lines

HYPOTHESES = [
    "The green hat hangs over the door.",
    "A man runs.",
    "The street is very long and pretty today, the old man says.",
    "",
    "She buys $5 apples | pears",
    "The dog is sleeping on the red sofa in the house.",
]
CHINESE = ["今天天气很好。", "他喜欢吃苹果。"], ["今天的天气很好。", "他爱吃苹果,也爱吃梨。"]


def sacrebleu(hypotheses: Path, references: Path, *options: str) -> dict[str, dict[str, str]]:
    """Return what the `sacrebleu` command prints for the three metrics, with 12 decimals."""
    command = [sys.executable, "-m", "sacrebleu", str(references), "-i", str(hypotheses), "-w", "12"]
    output = subprocess.run(
        [*command, "-m", "bleu", "chrf", "ter", *options], capture_output=True, text=True, check=True
    ).stdout
    return {entry["name"]: entry for entry in json.loads(output)}


def test_scores_equal_the_command(tmp_path: Path) -> None:
    printed = sacrebleu(write_lines(tmp_path / "hyp", HYPOTHESES), write_lines(tmp_path / "ref", REFERENCES))
    ours = score(HYPOTHESES, REFERENCES)
    for name, label in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        assert round(ours[name].score, 12) == printed[label]["score"]
        assert ours[name].signature == printed[label]["signature"]
    assert corpus_bleu(HYPOTHESES, REFERENCES) == ours["bleu"]


def test_chinese_is_tokenised_as_the_command_does_for_that_language(tmp_path: Path) -> None:
    files = [write_lines(tmp_path / name, lines) for name, lines in zip(("hyp", "ref"), CHINESE, strict=True)]
    printed = sacrebleu(*files, "-l", "en-zh")["BLEU"]
    ours = corpus_bleu(*CHINESE, target_language="zh")
    assert round(ours.score, 12) == printed["score"]
    assert "tok:zh" in ours.signature
    assert ours.score != corpus_bleu(*CHINESE).score


@pytest.mark.parametrize("language", ["zh-CN", "yue", "jpn"])
def test_ter_of_chinese_and_japanese_is_of_characters_as_the_command_has_it(language: str, tmp_path: Path) -> None:
    texts = CHINESE if language != "jpn" else (["今日は晴れです。", "東京へ行く"], ["今日は雨です。", "東京に行った"])
    files = [write_lines(tmp_path / name, lines) for name, lines in zip(("hyp", "ref"), texts, strict=True)]
    printed = sacrebleu(*files, "--ter-asian-support", "--ter-normalized")["TER"]
    ours = score(*texts, metrics=("ter",), target_language=language)["ter"]
    assert round(ours.score, 12) == printed["score"]
    assert ours.signature == printed["signature"] and "norm:yes|punct:yes|asian:yes" in ours.signature
    plain = score(*texts, metrics=("ter",), target_language="en")["ter"]
    assert plain.score == 100 > ours.score, "whole lines are words without it"
    assert "asian:no" in plain.signature


def test_japanese_falls_back_to_characters_without_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    monkeypatch.delitem(sys.modules, "sacrebleu.tokenizers.tokenizer_ja_mecab", raising=False)
    metric = build_metric("bleu", "ja")
    assert metric.corpus_score(["今日は晴れ"], [["今日は雨だ"]]).score > 0
    assert "tok:char" in str(metric.get_signature())


def test_unequal_counts_name_both_texts_and_counts() -> None:
    with pytest.raises(NmtError, match=r"hyp\.txt has 6 lines but ref\.txt has 5"):
        check_counts(HYPOTHESES, REFERENCES[:5], "hyp.txt", "ref.txt")
    with pytest.raises(NmtError, match="6 lines but the references has 5"):
        score(HYPOTHESES, REFERENCES[:5])
    with pytest.raises(NmtError, match="nothing to score"):
        score([], [])


def test_sentence_scores_are_low_for_bad_answers_and_100_for_the_reference() -> None:
    for scores in (sentence_bleu(HYPOTHESES, REFERENCES), sentence_chrf(HYPOTHESES, REFERENCES)):
        assert scores[3] == 0, "an empty answer"
        assert all(0 < value < 100 for index, value in enumerate(scores) if index != 3)
    assert sentence_bleu(["A b."], ["A b."]) == pytest.approx([100.0])
    assert sentence_chrf(["A b."], ["A b."]) == pytest.approx([100.0])


def test_length_ratio_counts_tokens_as_bleu_does() -> None:
    assert length_ratio(["a b c."], ["a b c d e f g."]) == pytest.approx(4 / 8)


def test_several_references_are_scored_as_the_command_does(tmp_path: Path) -> None:
    others = [f"{line} indeed" for line in HYPOTHESES]
    files = [write_lines(tmp_path / name, lines) for name, lines in (("ref", REFERENCES), ("other", others))]
    hypotheses = write_lines(tmp_path / "hyp", HYPOTHESES)
    command = [sys.executable, "-m", "sacrebleu", *map(str, files), "-i", str(hypotheses), "-w", "12"]
    output = subprocess.run([*command, "-m", "bleu", "chrf", "ter"], capture_output=True, text=True, check=True).stdout
    printed = {entry["name"]: entry for entry in json.loads(output)}
    ours = score(HYPOTHESES, REFERENCES, more_references=[others])
    for name, label in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        assert round(ours[name].score, 12) == printed[label]["score"]
        assert ours[name].signature == printed[label]["signature"] and "nrefs:2" in ours[name].signature
        assert Statistics(name, HYPOTHESES, REFERENCES, "", [others]).score() == ours[name]
    assert sentence_chrf(HYPOTHESES, REFERENCES, [HYPOTHESES])[0] == pytest.approx(100)
    assert sentence_bleu(HYPOTHESES, REFERENCES, "", [HYPOTHESES])[0] == pytest.approx(100)
    assert length_ratio(["a b"], ["a b c d"], "", [["a b"]]) == 1


def test_metrics_are_named_alone_or_in_a_list() -> None:
    assert metrics_in_order("chrf") == ("chrf",)
    assert metrics_in_order(["ter", "bleu", "ter"]) == ("bleu", "ter")
    with pytest.raises(UsageError, match="there is no metric blue: choose from bleu, chrf, ter"):
        metrics_in_order("blue")
