"""Test the data card: its figures against plain Python on a small corpus, and the escaping of text in its page."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nmt.cli import prepare as command
from nmt.data.tokenizer import UNK, Tokenizer
from nmt.resources import embedded_corpus
from tests.report.test_compare import Page

EVIL = '<script>alert(1)</script> & <b>"x"</b> \u202e ja ja ja ja'


def lines(name: str, language: str, count: int) -> list[str]:
    return (embedded_corpus() / f"{name}.{language}").read_text("utf-8").split("\n")[:count]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write training, validation and test text, with unseen characters and with lines of the training text."""
    folder = tmp_path_factory.mktemp("card")
    train = {language: lines("train", language, 400) for language in ("de", "en")}
    texts = {
        "train": {language: [*text, EVIL, "", text[0]] for language, text in train.items()},
        "val": {language: [*lines("dev", language, 20), "  zwei  ☃☃  Ω"] for language in ("de", "en")},
        "test": {
            "de": [train["de"][3], f" {train['de'][4]}", "Neues", ""],
            "en": [train["en"][3], train["en"][5], EVIL, "nothing"],
        },
    }
    for name, sides in texts.items():
        for language, text in sides.items():
            (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    overrides = [f"data.path={folder}", f"data.cache={folder / 'cache'}", "tokenizer.vocab_size=300"]
    overrides += ["tokenizer.algorithm=bpe", "data.cleaning.max_repeats=3", "data.cleaning.max_ratio=null"]
    assert command.main(["embedded", *overrides, "--report", str(folder / "data.html")]) == 0
    return folder


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "data.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(next((folder / "cache").glob("de-en-*")) / "tokenizer")


def test_sizes_and_vocabulary_are_those_of_the_text(figures: dict[str, Any], tokenizer: Tokenizer) -> None:
    kept: dict[str, list[str]] = {"source": lines("train", "de", 400), "target": lines("train", "en", 400)}
    pairs = list(dict.fromkeys(zip(*kept.values(), strict=True)))
    kept = {"source": [pair[0] for pair in pairs], "target": [pair[1] for pair in pairs]}
    assert figures["train"]["pairs"] == figures["cleaning"]["kept"] == len(pairs)
    assert figures["cleaning"]["read"] == 403
    assert figures["cleaning"]["dropped"]["repetition"] == figures["cleaning"]["dropped"]["empty"] == 1
    for side, text in kept.items():
        ids = [row[:-1] for row in tokenizer.source.encode(text)]
        sizes, usage = figures["train"][side], figures["vocabulary"][side]
        assert sizes["words"]["total"] == sum(len(line.split()) for line in text)
        assert sizes["characters"]["max"] == max(map(len, text))
        assert sizes["tokens"]["total"] == sum(map(len, ids))
        assert sizes["tokens_per_word"] == pytest.approx(sizes["tokens"]["total"] / sizes["words"]["total"])
        assert sizes["distinct_characters"] == len(set("".join(text)))
        counts = Counter(id for row in ids for id in row)
        top = [count for _, count in counts.most_common(20)]
        assert [count for _, count in usage["most_frequent"]] == top
        assert usage["frequency_of_rank"][0] == [1, top[0]] and usage["frequency_of_rank"][-1][0] == len(counts)
        assert sum(band["pieces"] for band in usage["bands"]) == usage["pieces"] == tokenizer.source_size - 4
        assert usage["bands"][0]["pieces"] == usage["pieces"] - len(counts)
        assert usage["bands"][1]["pieces"] == sum(count < 10 for count in counts.values())
        assert sum(figures["histograms"]["tokens"][side]) == len(text)


def test_coverage_and_overlap_of_validation_and_test_sets(figures: dict[str, Any], tokenizer: Tokenizer) -> None:
    validation, test = figures["sets"]
    assert (validation["name"], test["name"], test["pairs"]) == ("validation", "test", 4)
    unseen = validation["unseen_characters"]["source"]
    known = set("".join(lines("train", "de", 400)))
    expected = Counter(char for line in [*lines("dev", "de", 20), "☃☃Ω"] for char in line if char not in known)
    assert (unseen["distinct"], unseen["occurrences"]) == (len(expected), expected.total())
    assert unseen["characters"][0] == "☃" and set(unseen["characters"]) == set(expected)
    encoded = tokenizer.encode_source([*lines("dev", "de", 20), "zwei ☃☃ Ω"])
    assert validation["source"]["unknown_tokens"] == sum(row.count(UNK) for row in encoded) > 0
    assert test["in_training"] == {"source": 2, "target": 2, "pair": 1}
    assert test["in_training_examples"] == [[lines("train", "de", 4)[3], lines("train", "en", 4)[3]]]


def test_the_page_is_self_contained_and_escapes_all_text(folder: Path, figures: dict[str, Any]) -> None:
    text = (folder / "data.html").read_text("utf-8")
    page = Page(text)
    assert page.open == [] and all(link.startswith("data:") for link in page.outside)
    assert len(page.ids) == len(set(page.ids)) and {link[1:] for link in page.inside} <= set(page.ids)
    assert "<script" not in text and "<b>" not in text and "\u202e" not in text
    assert "<script>alert(1)</script>" in page.text and "\\u202e" in page.text
    assert f"{figures['cleaning']['kept']:,} of {figures['cleaning']['read']:,}" in page.text
    assert "☃" in page.text
    for rule, count in figures["cleaning"]["dropped"].items():
        assert rule in page.text, (rule, count)


def test_another_json_file_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.json").write_text('{"mine": 1}', "utf-8")
    assert command.main(["embedded", f"data.cache={folder / 'new'}", "--report", str(folder / "mine.html")]) == 1
    assert "mine.json would be overwritten, and holds no figures of a data card" in capsys.readouterr().err
    assert (folder / "mine.json").read_text("utf-8") == '{"mine": 1}'
    assert not (folder / "new").exists()


def test_a_report_that_is_not_an_html_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    for name in ("report", "data.json", str(tmp_path / "folder.html")):
        assert command.main(["embedded", "--report", name]) == 2
        assert "is not the name of an HTML file such as data.html" in capsys.readouterr().err
