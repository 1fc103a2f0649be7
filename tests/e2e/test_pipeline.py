"""Tests of the whole pipeline with the installed commands: training, translation, scores, a report and heatmaps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.config.load import read_config
from nmt.data.alignments import parse_links
from tests.e2e.conftest import run, train_arguments


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def trained(work: Path, corpus: Path) -> Path:
    """Train a run for 30 updates and return its directory."""
    arguments = train_arguments(corpus, work / "small", "training.max_steps=30", "training.validate_every=15")
    prepared = run("nmt-prepare", *arguments, cwd=work)
    assert not (work / "small" / "checkpoints").exists(), "nmt-prepare prepares and does no more"
    done = run("nmt-train", *arguments, cwd=work)
    assert Path(prepared.stdout.strip()).is_dir()
    assert done.stdout == "", "stdout is for results"
    assert "prepared already" in done.stderr
    return work / "small"


def test_a_run_directory_holds_what_the_other_commands_need(trained: Path, work: Path) -> None:
    config = read_config(trained / "config.yaml")
    assert config.training.max_steps == 30
    assert len(list(trained.rglob("config.yaml"))) == 1
    assert json.loads((trained / "environment.json").read_text())["parameters"] > 0
    events = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "validation"] == [15, 30]
    losses = [event["loss"] for event in events if event["event"] == "train"]
    assert losses[-1] < losses[0]
    assert events[-1]["event"] == "end"
    again = run("nmt-train", trained / "config.yaml", cwd=work)
    assert "max_steps" in again.stderr, "a finished run says what would train it further"


def test_a_copied_run_translates_line_by_line(trained: Path, work: Path, corpus: Path) -> None:
    moved = work / "elsewhere"
    subprocess.run(["cp", "-r", trained, moved], check=True)
    lines = (corpus / "test.de").read_text(encoding="utf-8").splitlines()
    lines.insert(3, "")
    text = "\n".join(lines) + "\n"
    from_pipe = run("nmt-translate", moved, input=text, cwd=work).stdout
    assert from_pipe.count("\n") == len(lines)
    assert from_pipe.split("\n")[3] == ""
    (work / "in.de").write_text(text, encoding="utf-8")
    run("nmt-translate", moved, "-i", "in.de", "-o", "out.en", "--beam-size", 2, cwd=work)
    assert (work / "out.en").read_text(encoding="utf-8") == from_pipe
    best = run("nmt-translate", moved, "--n-best", 2, input=lines[0] + "\n", cwd=work).stdout
    assert json.loads(best)["hypotheses"][0]["text"] == from_pipe.split("\n")[0]


def test_scores_are_those_of_the_sacrebleu_command(trained: Path, work: Path, corpus: Path) -> None:
    done = run("nmt-evaluate", trained, cwd=work)
    folder = trained / "evaluations" / "test"
    scores = json.loads((folder / "scores.json").read_text())
    files = [str(corpus / "test.en"), "-i", str(folder / "hypotheses.txt")]
    command = [sys.executable, "-m", "sacrebleu", *files, "-w", "6", "-m", "bleu", "chrf", "ter"]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name, their in zip(("bleu", "chrf", "ter"), theirs, strict=True):
        assert f"{scores[name]['score']:.6f}" == f"{their['score']:.6f}"
        assert scores[name]["signature"] == their["signature"]
    assert f"{scores['bleu']['score']:.2f}" in done.stdout


def test_the_report_opens_offline(trained: Path, work: Path, corpus: Path) -> None:
    reference = (corpus / "test.en").read_text(encoding="utf-8")
    (work / "perfect.en").write_text(reference, encoding="utf-8")
    done = run("nmt-compare", trained, "perfect=perfect.en", "-o", "report", cwd=work)
    results = json.loads((work / "report" / "results.json").read_text())
    systems = {system["name"]: system["scores"]["bleu"]["score"] for system in results["systems"]}
    assert systems["perfect"] == pytest.approx(100.0)
    assert systems["small"] < 100
    page = (work / "report" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in page and 'href="http' not in page and "<svg" in page + page.replace("image/svg", "<svg")
    assert "perfect" in (work / "report" / "report.md").read_text(encoding="utf-8")
    assert "BLEU" in done.stdout and "report" in done.stdout


def test_alignments_of_words(trained: Path, work: Path, corpus: Path) -> None:
    files = ["--source", corpus / "test.de", "--target", corpus / "test.en"]
    done = run("nmt-align", trained, *files, "--gold", corpus / "test.align", "--heatmap", "2",
               "--heatmap-dir", "maps", cwd=work)  # fmt: skip
    assert done.stdout.count("\n") == 20
    sources = (corpus / "test.de").read_text(encoding="utf-8").splitlines()
    for line, links in zip(sources, map(parse_links, done.stdout.splitlines()), strict=True):
        assert all(0 <= source < len(line.split()) for source, _ in links.possible)
    assert "AER" in done.stderr
    pictures = list((work / "maps").iterdir())
    assert len(pictures) == 1 and pictures[0].stat().st_size > 1000
