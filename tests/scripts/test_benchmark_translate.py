"""Test scripts/benchmark_translate.py: the systems it runs, the statistics it computes and the page it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nmt.cli import export
from nmt.inference.translator import Translator
from tests.inference.export.exported import LINES, make_exportable
from tests.toy_run import make_run

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark_translate  # noqa: E402
from benchmarks import translating  # noqa: E402
from benchmarks.translation_results import BEGIN, END, figures, renewed, summarise  # noqa: E402

POST, UNTIED, PRE = "post relu shared tied", "post gelu shared untied", "pre gelu separate tied"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path


def asked(run: Path, source: Path, system: str, **options: Any) -> dict[str, Any]:
    return {
        "system": system, "run": str(run), "checkpoint": None, "device": "cpu", "source": str(source), "beam_size": 1,
        "export": str(run / "exports" / "ctranslate2"), "engine": "native", "precision": "fp32", "streams": 1,
        "threads": 1, "search": ["tokens_per_batch=64"], "sentences": 30, "single": 4, **options,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [POST, UNTIED, PRE])
def test_every_system_translates_with_the_same_weights(kind: str, source: Path, tmp_path: Path) -> None:
    run = make_exportable(tmp_path / "run", kind)
    config = (run / "config.yaml").read_text("utf-8")
    assert "max_length_ratio: 1.0" in config
    (run / "config.yaml").write_text(config.replace("max_length_ratio: 1.0", "max_length_ratio: 3.0"), "utf-8")
    assert export.main([str(run)]) == 0
    systems: list[tuple[str, dict[str, Any]]] = [("nmt", {}), ("nmt", {"engine": "ctranslate2"}), ("ctranslate2", {})]
    if kind != PRE and importlib.util.find_spec("transformers"):
        systems.append(("transformers", {}))
    if kind == PRE and importlib.util.find_spec("onmt"):
        systems.append(("OpenNMT-py", {}))
    expected = [one.hypotheses[0] for one in Translator.load(run, device="cpu").nbest(LINES[:30], beam_size=1)]
    ended = [
        row for row, one in enumerate(expected) if one.finished
    ]  # CTranslate2 and Marian stop all sentences at the same length
    assert len(ended) > 5
    for system, options in systems:
        window = translating.main(asked(run, source, system, **options), time.perf_counter())
        assert [window["texts"][row] for row in ended] == [expected[row].text for row in ended], system
        assert (window["sentences"], len(window["latencies"])) == (30, 4)
        assert min(window["latencies"]) > 0 and window["load_seconds"] > 0 and window["peak_memory_mib"] > 10
        assert window["tokens"] >= sum(len(expected[row].tokens) + 1 for row in ended)
        if system == "nmt":
            assert window["tokens"] == sum(len(one.tokens) + one.finished for one in expected)


@pytest.mark.parametrize(
    ("program", "package", "kind", "least"),
    [
        ("transformers", "transformers", POST, 20),
        ("OpenNMT-py", "onmt", PRE, 15),
    ],  # OpenNMT-py's beam search stops a bit earlier
)
def test_beam_searches_of_other_programs_mostly_agree_with_ours(
    program: str, package: str, kind: str, least: int, source: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    run = make_exportable(tmp_path / "run", kind)
    assert export.main([str(run)]) == 0
    texts = [
        translating.main(asked(run, source, system, engine="ctranslate2", beam_size=3), time.perf_counter())["texts"]
        for system in (program, "nmt")
    ]
    assert sum(one == other for one, other in zip(*texts, strict=True)) >= least


def window(sentences: int, seconds: float, texts: list[str]) -> dict[str, Any]:
    return {
        "load_seconds": 1.0, "seconds": seconds, "sentences": sentences, "tokens": 10 * sentences,
        "latencies": [0.01, 0.02, 0.03], "peak_memory_mib": 99.0, "same_alone": 0.5, "texts": texts,
    }  # fmt: skip


def test_ratios_are_paired_and_texts_compared() -> None:
    ours = [window(100, 1.0, ["a", "b"]), window(100, 2.0, ["a", "b"]), window(100, 1.0, ["a", "b"])]
    theirs = [window(100, 2.0, ["a", "c"]), window(100, 2.0, ["a", "c"]), window(100, 4.0, ["a", "c"])]
    summary = summarise({"nmt": ours, "other": theirs})
    assert summary["ratios"] == {"other": {"median": 2.0, "low": 1.0, "high": 4.0}}
    assert summary["shared"] == {"other": 0.5}
    assert summary["systems"]["nmt"]["sentences_per_second"] == {"median": 100.0, "low": 50.0, "high": 100.0}
    shown = figures(ours[1])
    assert (shown["tokens_per_second"], shown["latency_ms"]) == (500.0, pytest.approx(20.0))
    assert shown["latency_95_ms"] == pytest.approx(29.0)
    assert figures(ours[0] | {"latencies": []})["latency_ms"] is None


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each round in this process, and pretend that transformers and OpenNMT-py are not installed."""

    def measured(system: Any, specification: dict[str, Any]) -> dict[str, Any]:
        return translating.main(specification | {"system": system.kind, **system._asdict()}, time.perf_counter())

    find = importlib.util.find_spec
    monkeypatch.setattr(benchmark_translate, "measure", measured)
    monkeypatch.setattr(
        benchmark_translate.importlib.util,
        "find_spec",
        lambda name: None if name in ("transformers", "onmt") else find(name),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_benchmark_writes_what_it_measured(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = make_exportable(tmp_path / "run", POST), tmp_path / "results" / "speed.json"
    command = [
        str(run),
        "--source",
        str(source),
        "--threads",
        "1x2",
        "--rounds",
        "2",
        "--single",
        "2",
        "--sentences",
        "8",
    ]
    assert benchmark_translate.main([*command, "-o", str(output), "--beam-size", "1", "2", "--reference"]) == 0
    out, err = capsys.readouterr()
    entries = json.loads(output.read_text("utf-8"))
    assert list(entries) == ["run, greedy", "run, beam 2"]
    names = [
        "nmt, fp32, 1x2",
        *(f"ctranslate2, {kind}" for kind in ("fp32, 2x1", "fp32, 1x2", "int8, 2x1", "int8, 1x2")),
    ]
    for entry in entries.values():
        assert list(entry["systems"]) == names
        assert [len(system["rounds"]) for system in entry["systems"].values()] == [2] * 5
        assert list(entry["ratios"]) == list(entry["shared"]) == names[1:]
        missing = [f"{name}, because it is not installed" for name in ("transformers", "OpenNMT-py")]
        assert entry["left_out"] == missing
        assert (entry["sentences"], entry["checkpoint"]) == (8, "step-0000000012")
        assert entry["systems"][names[0]]["same_alone"]["median"] == 1
    assert str(tmp_path) not in output.read_text("utf-8"), "the results must not name folders of this machine"
    assert "--beam-size 1 2 --sentences 8 --single 2 --rounds 2 --reference" in entry["command"]
    assert "left out: transformers" in err and "| run, greedy | nmt, fp32, 1x2 |" in out
    assert not (run / "exports").exists(), "the export for the comparison is not kept in the run"

    page = output.with_suffix(".md")
    assert benchmark_translate.main([*command, "-o", str(output), "--name", "alone"]) == 0
    entries = json.loads(output.read_text("utf-8"))
    assert list(entries) == ["run, greedy", "run, beam 2", "alone, beam 3"]
    text = page.read_text("utf-8")
    assert text.startswith("# How fast is translation") and BEGIN in text and text.rstrip().endswith(END)
    assert text.count("| alone, beam 3 | nmt, fp32, 1x2 |") == 1
    assert renewed(text, entries) == text


def test_each_round_runs_in_its_own_process(source: Path, tmp_path: Path) -> None:
    run, output = make_exportable(tmp_path / "run", POST), tmp_path / "speed.json"
    command = [str(run), "--source", str(source), "--engine", "ctranslate2", "--precision", "fp32", "int8"]
    command += ["--beam-size", "1", "--threads", "1x1", "--rounds", "1", "-o", str(output)]
    assert benchmark_translate.main(command) == 0
    (entry,) = json.loads(output.read_text("utf-8")).values()
    assert list(entry["systems"]) == ["nmt with ctranslate2, fp32, 1x1", "nmt with ctranslate2, int8, 1x1"]
    for system in entry["systems"].values():
        assert system["peak_memory_mib"]["median"] < 150, "a process that imports torch needs more"


@pytest.mark.usefixtures("in_this_process")
def test_greedy_translations_that_differ_are_reported(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    translate = translating.SYSTEMS["ctranslate2"]
    spoilt = lambda asked: lambda lines: [(f"{text}!", n) for text, n in translate(asked)(lines)]  # noqa: E731
    run = make_exportable(tmp_path / "run", POST)
    command = [str(run), "--source", str(source), "--threads", "1x1", "--rounds", "1", "--single", "0", "--reference"]
    command += ["--beam-size", "1", "-o", str(tmp_path / "speed.json")]
    assert benchmark_translate.main(command) == 0
    sentence = "ctranslate2, fp32, 1x1: only 0.0% of its greedy translations equal those of nmt"
    assert sentence not in capsys.readouterr().err
    monkeypatch.setitem(translating.SYSTEMS, "ctranslate2", spoilt)
    assert benchmark_translate.main(command) == 0
    assert sentence in capsys.readouterr().err


def test_wrong_usage(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recurrent = make_run(tmp_path / "recurrent", "rnnsearch")
    (tmp_path / "empty").write_text("\n")
    for arguments, sentence in (
        ([str(source), "--reference"], "--reference compares Transformers only: other programs have no rnnsearch"),
        ([str(source), "--threads", "2"], "'2' is not STREAMSxTHREADS"),
        ([str(source), "--beam-size", "0"], "'0' is not a whole number from 1 on"),
        ([str(tmp_path / "empty")], "empty is empty: there is nothing to translate"),
    ):
        assert benchmark_translate.main([str(recurrent), "--source", *arguments]) == 2
        assert sentence in capsys.readouterr().err.splitlines()[-1]
