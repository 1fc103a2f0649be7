"""Test that all spellings of a language code are understood as the same language."""

from __future__ import annotations

import pytest

from nmt.cli.compare import direction, main
from nmt.config.languages import html_language, is_language, is_unspaced, known_as, language_of, macrolanguage_of
from nmt.evaluation.buckets import source_lengths
from nmt.evaluation.metrics import corpus_bleu, length_ratio
from nmt.inference.segment import split_to_fit
from nmt.report.differences import mark

CHINESE = ["zh", "zh-CN", "zh_Hans", "ZH-hant-TW", "zho", "chi", "zho_Hant", "cmn", "cmn_Hans_CN", "zh_CN.UTF-8"]
VARIETIES = ["yue", "yue_Hant", "wuu", "lzh"]
JAPANESE = ["ja", "jpn", "ja_JP", "JPN-Jpan"]
GERMAN = ["de", "deu", "ger", "DE", "de-AT", "deu_Latn", "ger_DE"]
WORDS = ["src", "tgt", "xx", "corpus1", "train", "中文", ""]


@pytest.mark.parametrize(("language", "codes"), [("zh", CHINESE), ("ja", JAPANESE), ("de", GERMAN)])
def test_every_spelling_is_the_same_language(language: str, codes: list[str]) -> None:
    assert {language_of(code) for code in codes} == {language}
    assert {known_as(code) for code in codes} == {language}


def test_other_codes_are_told_apart() -> None:
    assert [language_of(code) for code in ("por", "pt-BR", "iw", "arb_Arab", "yue", "nob")] == [
        "pt", "pt", "he", "ar", "yue", "nb"]  # fmt: skip
    assert [macrolanguage_of(code) for code in ("yue_Hant", "hrv", "nob", "deu")] == ["zh", "sh", "no", "de"]


def test_words_that_are_no_code_are_languages_of_which_nothing_is_known() -> None:
    for word in WORDS:
        assert not is_language(word) and not is_unspaced(word)
        assert known_as(word) is None and html_language(word) == ""
        assert language_of(word) == word


def test_html_has_script_and_region() -> None:
    assert [html_language(code) for code in ("cmn_Hans_CN", "zho_Hant", "ger", "pt_BR")] == [
        "zh-Hans-CN", "zh-Hant", "de", "pt-BR"]  # fmt: skip


@pytest.mark.parametrize("code", [*CHINESE, *VARIETIES])
def test_chinese_is_scored_as_chinese(code: str) -> None:
    hypotheses, references = ["今天天气很好。", "他喜欢吃苹果。"], ["今天的天气很好。", "他爱吃苹果,也爱吃梨。"]
    ours = corpus_bleu(hypotheses, references, code)
    assert ours == corpus_bleu(hypotheses, references, "zh")
    assert "tok:zh" in ours.signature and ours.score > 0
    assert length_ratio(["今天很好"], ["今天天气很好"], code) == pytest.approx(4 / 6)


@pytest.mark.parametrize("code", [*JAPANESE, "kor", "ko_KR"])
def test_japanese_and_korean_are_not_scored_on_words_between_spaces(code: str) -> None:
    assert "tok:13a" not in corpus_bleu(["今日は晴れ"], ["今日は雨だ"], code).signature


@pytest.mark.parametrize("code", [*CHINESE, *VARIETIES, *JAPANESE, "tha", "th_TH"])
def test_lengths_and_marks_are_in_characters_without_spaces(code: str) -> None:
    assert source_lengths(["今天天气好"], code) == [5]
    assert [span.text for span in mark("今天天气好", "今天气温好", code) if not span.matched] == ["天"]


@pytest.mark.parametrize("code", GERMAN)
def test_sentences_end_where_they_do_in_the_language(code: str) -> None:
    line = "Er kam bzw. Sie kam. Gut."
    assert split_to_fit(line, lambda text: len(text.split()) <= 5, code) == ["Er kam bzw. Sie kam. ", "Gut."]


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("en-zh-CN", ["en", "zh-CN"]),
        ("zh-Hans-CN-en", ["zh-Hans-CN", "en"]),
        ("pt_BR-fr", ["pt_BR", "fr"]),
        ("src-tgt", ["src", "tgt"]),
        ("pt-BR-fr", None),  # could also be read as Portuguese, and as Breton in France
    ],
)
def test_a_direction_is_cut_between_its_languages(
    text: str, languages: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if languages is not None:
        assert list(direction(text)) == languages
    else:
        assert main(["a=b", "-o", "x", "--languages", text]) == 2
        assert "does not show where the first language ends" in capsys.readouterr().err
