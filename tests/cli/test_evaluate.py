"""Tests of nmt-evaluate: its scores are those that sacreBLEU computes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from nmt.cli.evaluate import main
from nmt.config.data import CorpusConfig
from nmt.config.load import read_config, save_config
from nmt.evaluation.metrics import METRICS
from tests.evaluation.runs import REFERENCES, make_run, write_lines, write_texts

HYPOTHESES = [line.replace("the", "a").replace("is ", "") for line in REFERENCES]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_texts(tmp_path)
    write_lines(tmp_path / "hyp.en", HYPOTHESES)
    return tmp_path


def test_files_are_scored_as_the_sacrebleu_command_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / "hyp.en"), str(folder / "text.en")]
    command = [sys.executable, "-m", "sacrebleu", files[1], "-i", files[0], "-w", "2", "-b", "-m"]
    expected = [
        subprocess.run([*command, metric], capture_output=True, text=True, check=True).stdout.strip()
        for metric in ("bleu", "chrf", "ter")
    ]
    assert main(["--hypothesis", files[0], "--reference", files[1]]) == 0
    header, row, *rest = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["system", "test", "set", "BLEU", "chrF"]
    assert row.split()[2:5] == expected
    assert sum("version:" in line for line in rest) == 3


def test_a_run_is_scored_on_its_test_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(folder / "run", "luong", folder)
    assert main([str(run), "--json", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    (entry,) = json.loads(output.out)
    record = json.loads((run / "evaluations" / "test" / "scores.json").read_text(encoding="utf-8"))
    assert entry == {"system": str(run), "test_set": "test", **record}
    assert "translating test" in output.err
    assert main([str(run), "--test-set", "test", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "using the translations" in output.err and f"{record['bleu']['score']:.2f}" in output.out


def test_all_that_is_named_is_looked_at_before_a_run_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, none = make_run(folder / "run", "luong", folder), folder / "none"
    source = str(folder / "text.de")
    monkeypatch.setattr("nmt.runs.run.load_run", lambda *arguments: pytest.fail("a run is loaded"))
    for arguments, sentence in (
        ([str(none)], f"{none} does not exist"),
        (["--source", source, "--reference", str(none)], f"{none} is missing"),
        (["--test-set", "test", "--test-set", "nothing"], "no test set 'nothing'"),
        (["--checkpoint", "9"], "has no checkpoint step-0000000009"),
        (["--device", "tpu"], "there is no tpu device here"),
    ):
        assert main([str(run), *arguments]) == 1
        assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_only_what_is_to_be_written_has_to_be_writable(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(folder / "run", "luong", folder)
    assert main([str(run), "--device", "cpu"]) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("nmt.files.TemporaryFile", read_only)
    assert main([str(run), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == first
    monkeypatch.setattr("nmt.inference.translator.Translator.nbest", lambda *_, **__: pytest.fail("it translates"))
    assert main([str(run), "--device", "cpu", "--beam-size", "1"]) == 1
    assert "evaluations/test cannot be written" in capsys.readouterr().err


def read_only(dir: Path) -> IO[bytes]:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_pipes_are_read_once_for_all_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(make_run(folder / name, "luong", folder, seed)) for seed, name in enumerate(("one", "two"))]
    with ExitStack() as stack:
        given = [stack.enter_context(pipe_of(folder / name)) for name in ("text.de", "text.en")]
        assert main([*runs, "--source", given[0], "--reference", given[1], "--device", "cpu", "--json"]) == 0
    assert [entry["sentences"] for entry in json.loads(capsys.readouterr().out)] == [len(REFERENCES)] * 2


@contextmanager
def pipe_of(file: Path) -> Iterator[str]:
    """Return the name of a pipe with the content of a file, like <(cat FILE) in a shell."""
    end, start = os.pipe()
    os.write(start, file.read_bytes())
    os.close(start)
    yield f"/dev/fd/{end}"
    os.close(end)


def test_an_output_is_scored_as_it_comes(folder: Path) -> None:
    command = [sys.executable, "-m", "nmt.cli.evaluate", "--hypothesis", "-", "--reference", str(folder / "text.en")]
    given = "".join(f"{line}\n" for line in REFERENCES)
    answer = subprocess.run([*command, "--json"], input=given, capture_output=True, text=True)
    assert answer.returncode == 0
    (entry,) = json.loads(answer.stdout)
    assert entry["bleu"]["score"] == pytest.approx(100) and entry["system"] == "-"
    assert answer.stderr == ""


def test_a_run_is_scored_on_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(folder / "run", "luong", folder)
    files = ["--source", str(folder / "text.de"), "--reference", str(folder / "hyp.en")]
    assert main([str(run), *files, "--beam-size", "1", "--device", "cpu"]) == 0
    assert "text" in capsys.readouterr().out
    record = json.loads((run / "evaluations" / "text" / "scores.json").read_text(encoding="utf-8"))
    assert record["beam_size"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a run directory"),
        (["run", "--source", "a"], "--source and --reference go together"),
        (["run", "--source", "a", "--reference", "b", "--test-set", "c"], "either"),
        (["--hypothesis", "a"], "--hypothesis needs --reference"),
        (["run", "--hypothesis", "a", "--reference", "b"], "--hypothesis cannot be combined with"),
        (["--hypothesis", "a", "--reference", "b", "--beam-size", "3"], "--beam-size changes how a run translates"),
        (["--hypothesis", "a", "--reference", "b", "--device", "cuda"], "--device changes how a run translates"),
        (["run", "--target-language", "ja"], "--target-language is for --hypothesis"),
        (
            ["--hypothesis", "a", "--reference", "b", "--target-language", "chinese"],
            "'chinese' is no code of a language",
        ),
        (["--hypothesis", "", "--reference", "b"], "argument --hypothesis: the name of a file or folder is empty"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: nmt-evaluate") and sentence in error


def test_unequal_counts_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(folder / "short.en", HYPOTHESES[:2])
    assert main(["--hypothesis", str(folder / "short.en"), "--reference", str(folder / "text.en")]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "short.en has 2 lines" in error and "text.en has 6" in error


def test_metrics_are_those_that_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["--hypothesis", str(folder / "hyp.en"), "--reference", str(folder / "text.en")]
    assert main([*texts, "--metric", "chrf", "--metric", "bleu"]) == 0
    header, *_ = lines = capsys.readouterr().out.splitlines()
    assert header.split()[3:5] == ["BLEU", "chrF"] and not any("TER" in line for line in lines)
    run = str(make_run(folder / "run", "luong", folder))
    assert main([run, "--device", "cpu", "--metric", "ter", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert [name for name in METRICS if name in entry] == ["ter"]
    for system in (texts, [run, "--device", "cpu"]):
        assert main([*system, "--metric", "rouge"]) == 2
        assert "there is no metric rouge: choose from bleu, chrf, ter" in capsys.readouterr().err


def test_several_references_count_in_a_file_a_run_and_a_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--reference", str(folder / "text.en"), "--reference", str(folder / "hyp.en")]
    assert main(["--hypothesis", str(folder / "hyp.en"), *both, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["bleu"]["score"] == pytest.approx(100) and "nrefs:2" in entry["bleu"]["signature"]
    run = make_run(folder / "run", "luong", folder)
    entries = []
    for arguments in (["--source", str(folder / "text.de"), *both], ["--source", str(folder / "text.de"), *both[:2]]):
        assert main([str(run), *arguments, "--device", "cpu", "--json"]) == 0
        entries += json.loads(capsys.readouterr().out)
    assert [entry["bleu"]["signature"].split("|")[0] for entry in entries] == ["nrefs:2", "nrefs:1"]
    assert entries[0]["reference_sha256"] != entries[1]["reference_sha256"]
    assert entries[0]["test_set"] == "text" and entries[1]["test_set"].startswith("text-"), "two texts, two folders"
    config = read_config(run / "config.yaml")
    assert isinstance(config.data.test["test"], CorpusConfig)
    config.data.test["test"].more_references = [str(folder / "hyp.en")]
    save_config(config, run / "config.yaml")
    assert main([str(run), "--device", "cpu", "--json"]) == 0
    (configured,) = json.loads(capsys.readouterr().out)
    assert configured["reference_sha256"] == entries[0]["reference_sha256"]
    assert {name: configured[name] for name in METRICS} == {name: entries[0][name] for name in METRICS}


def test_each_of_several_references_has_a_line_for_each_source(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(folder / "short.en", HYPOTHESES[:2])
    files = ["--reference", str(folder / "text.en"), "--reference", str(folder / "short.en")]
    run = make_run(folder / "run", "luong", folder)
    for system in (["--hypothesis", str(folder / "hyp.en")], [str(run), "--source", str(folder / "text.de")]):
        assert main([*system, *files]) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and "has 6 lines but" in error and "short.en has 2" in error
    config = read_config(run / "config.yaml")
    assert isinstance(config.data.test["test"], CorpusConfig)
    config.data.test["test"].more_references = [str(folder / "short.en")]
    save_config(config, run / "config.yaml")
    assert main([str(run), "--device", "cpu"]) == 1
    assert "data.test.test (text) has 6 lines but" in capsys.readouterr().err
