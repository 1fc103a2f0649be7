"""Tests of nmt-compare: its arguments, its output and its errors. The report itself is tested in tests/report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from nmt.cli.compare import main
from nmt.config.data import CorpusConfig
from nmt.config.load import read_config
from nmt.errors import UsageError
from nmt.evaluation.sets import EvaluationSet
from nmt.report.compare import Contestant, Request, _languages
from tests.evaluation.runs import REFERENCES, SOURCES, make_run, write_lines, write_texts


def test_a_run_and_a_file_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_texts(tmp_path)
    write_lines(tmp_path / "other.en", REFERENCES)
    run = make_run(tmp_path / "run", "luong", tmp_path)
    output = tmp_path / "report"
    arguments = [str(run), f"other={tmp_path / 'other.en'}", "-o", str(output), "--sentences", "2", "--device", "cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert [system["name"] for system in results["systems"]] == ["run", "other"]
    for system in results["systems"]:
        assert f"{system['scores']['bleu']['score']:.2f}" in printed
    assert str(output / "index.html") in printed
    assert {path.name for path in output.iterdir()} == {"index.html", "report.md", "results.json", "figures"}


def test_files_are_compared_against_several_references(tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path)
    other = write_lines(tmp_path / "other.en", [f"{line} Indeed." for line in REFERENCES])
    arguments = [f"a={other}", f"b={reference}", "--source", str(source), "-o", str(tmp_path / "report")]
    assert main([*arguments, "--reference", str(reference), "--reference", str(other)]) == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    for system in results["systems"]:
        assert system["scores"]["bleu"]["score"] == pytest.approx(100)
        assert system["scores"]["ter"]["score"] == 0
        assert "nrefs:2" in system["scores"]["chrf"]["signature"]


def test_a_report_has_the_metrics_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, reference = write_texts(tmp_path)
    arguments = [f"a={reference}", f"b={reference}", "--source", str(source), "--reference", str(reference)]
    assert main([*arguments, "-o", str(tmp_path / "report"), "--metric", "bleu", "--metric", "chrf"]) == 0
    assert "TER" not in capsys.readouterr().out
    for name in ("index.html", "report.md"):
        page = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert "chrF" in page and ">TER" not in page and " TER" not in page
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert all(list(system["scores"]) == ["bleu", "chrf"] for system in results["systems"])
    assert list(results["significance"]["pairs"][0]["metrics"]) == ["bleu", "chrf"]


def test_the_tags_of_a_test_set_choose_the_tokenizer(tmp_path: Path) -> None:
    """As in nmt-evaluate: the target language of all lines may be another one than that of the configuration."""
    write_texts(tmp_path)
    run = make_run(tmp_path / "run", "luong", tmp_path)
    config = read_config(run / "config.yaml")
    config.data.train = [CorpusConfig(source="a", target="b", tag="2zh", target_language="zh")]
    request = Request([Contestant(run)], tmp_path / "report")
    test_set = EvaluationSet("test", SOURCES, REFERENCES, config.data, ["2zh"] * len(SOURCES))
    assert _languages(request, {run: config}, test_set) == ("de", "zh")
    some = dataclasses.replace(test_set, tags=["2zh", *[None] * (len(SOURCES) - 1)])
    assert _languages(request, {run: config}, some) == ("de", "en")
    with pytest.raises(UsageError, match="--languages is for output files alone"):
        _languages(dataclasses.replace(request, languages=("de", "ja")), {run: config}, test_set)


def test_all_that_is_named_is_looked_at_before_a_run_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path)
    short = write_lines(tmp_path / "short.en", REFERENCES[1:])
    one, none = make_run(tmp_path / "one", "luong", tmp_path), tmp_path / "none"
    again = one / ".." / "one"
    monkeypatch.setattr("nmt.runs.run.load_run", lambda *arguments: pytest.fail("a run is loaded"))
    before = set(tmp_path.rglob("*"))
    for arguments, status, sentence in (
        ([f"other={none}"], 1, f"{none} is missing"),
        ([f"other={short}"], 1, f"{short} has 5 lines but the reference of test has 6"),
        ([str(none)], 1, f"{none} does not exist"),
        ([str(one)], 2, f"{one} is named twice: name each run once"),
        ([str(again)], 2, f"{one} and {again} are the same run, named twice: name each run once"),
        (["--checkpoint", "9"], 1, "has no checkpoint step-0000000009"),
        (["--device", "tpu"], 1, "there is no tpu device here"),
        (["--test-set", "nothing"], 1, "no test set 'nothing'"),
        (["-o", str(short / "report")], 1, f"{short} should be a folder, but is a file"),
    ):
        assert main([str(one), "-o", str(tmp_path / "report"), *arguments]) == status
        assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["results.json", "index.html", "report.md"])
def test_files_of_something_else_are_not_overwritten(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, reference = write_texts(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / name).write_text('{"mine": 1}', "utf-8")
    arguments = [f"a={reference}", "--source", str(source), "--reference", str(reference)]
    assert main([*arguments, "-o", str(tmp_path / "report")]) == 1
    assert f"{name} would be overwritten, and is no report of nmt-compare" in capsys.readouterr().err
    assert (tmp_path / "report" / name).read_text("utf-8") == '{"mine": 1}'


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a=b", "-o", "x", "--source", "f"], "--source and --reference go together"),
        (["a=b", "-o", "x", "--sentences", "0"], "counted from 1"),
        (["a=b", "-o", "x", "--sentences", "one"], "is not a list of line numbers"),
        (["a=b", "-o", "x", "--languages", "german"], "is not a translation direction"),
        (["a\udcff=b", "-o", "x"], "'a\\udcff' is not valid UTF-8: give a system as NAME=FILE, or rename it"),
        (
            ["a=b", "-o", "x", "--beam-size", "7"],
            "--beam-size changes how a run translates, but all systems are",
        ),
        (["a=b", "-o", "x", "--tag", "x"], "--tag changes how a run translates"),
        (["a=b", "-o", "x", "--metric", "chrf"], "a comparison ranks systems by BLEU: add --metric bleu"),
        (["a=b"], "-o"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: nmt-compare") and sentence in error


def test_a_report_goes_where_links_lead(tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path)
    (tmp_path / "report").symlink_to("disk/report")  # a path that does not exist yet
    arguments = [f"a={reference}", "--source", str(source), "--reference", str(reference)]
    assert main([*arguments, "-o", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report").is_symlink()
    page = tmp_path / "disk" / "report" / "index.html"
    page.rename(tmp_path / "page.html")
    page.symlink_to(tmp_path / "page.html")
    (tmp_path / "page.html").write_text("older")
    assert main([*arguments, "-o", str(tmp_path / "report")]) == 0
    assert page.is_symlink()
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_file_where_the_report_should_go_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, reference = write_texts(tmp_path)
    (tmp_path / "report").write_text("here")
    files = ["--source", str(source), "--reference", str(reference)]
    assert main([f"a={reference}", *files, "-o", str(tmp_path / "report")]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "should be a folder" in error
    assert main([str(tmp_path / "nowhere"), *files, "-o", str(tmp_path / "other")]) == 1
    assert "nowhere" in capsys.readouterr().err
