"""The section on heads of a comparison: means of what nmt-heads prints, in the page, in Markdown and as a picture."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from nmt.cli.compare import main as compare
from nmt.cli.heads import main as heads
from tests.evaluation import runs
from tests.evaluation.runs import GOLD, make_run, write_lines, write_texts
from tests.report.test_compare import Page

LABELS = {"encoder_self": "encoder self-attention", "decoder_self": "decoder self-attention",
          "decoder_cross": "attention to the source"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_texts(folder)
    write_lines(folder / "gold", GOLD)
    for family in ("luong", "transformer"):
        make_run(folder / family, family, folder)
    with pytest.MonkeyPatch.context() as patch:  # a second Transformer of other depth, with a layer without heads
        mixed = runs.TransformerConfig(
            model_dim=16, ffn_dim=16, num_heads=2, encoder_layers=2, decoder_layers=2, decoder_self=["ssru", "softmax"]
        )
        patch.setitem(runs.MODELS, "mixed", mixed)
        make_run(folder / "mixed", "mixed", folder)
    return folder


def call(folder: Path, *options: str, names: tuple[str, ...] = ("luong", "transformer", "mixed")) -> int:
    systems = [str(folder / name) for name in names]
    return compare([*systems, "-o", str(folder / "report"), "--device", "cpu", "--sentences", "2", *options])


def of_nmt_heads(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    files = ["--source", str(folder / "text.de"), "--target", str(folder / "text.en"), "--gold", str(folder / "gold")]
    assert heads([str(folder / name), *files, "--device", "cpu", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_figures_are_means_of_what_nmt_heads_measures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder, "--heads", "--gold", str(folder / "gold")) == 0
    assert "transformer: measuring its heads" in capsys.readouterr().err
    report = folder / "report"
    entries = json.loads((report / "results.json").read_text("utf-8"))["heads"]
    assert [entry["name"] for entry in entries] == ["transformer", "mixed"]
    page = Page((report / "index.html").read_text("utf-8"))
    markdown = (report / "report.md").read_text("utf-8").splitlines()
    assert page.open == [] and "Heads of Transformers" in page.text
    assert "![Entropy and distance of the heads](figures/heads.svg)" in markdown
    assert (report / "figures" / "heads.svg").read_text("utf-8").count("<svg") == 1
    for entry in entries:
        measured = of_nmt_heads(folder, entry["name"], capsys)
        by_layer: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for head in measured:
            place, layer, _ = head["head"].split(".")
            by_layer.setdefault((place, int(layer)), []).append(head)
        for attention in entry["attentions"]:
            for measure in ("entropy", "distance"):
                for layer, value in enumerate(attention[measure]):
                    own = by_layer.get((attention["attention"], layer), [])
                    expected = statistics.fmean(head[measure] for head in own) if own else None
                    assert value == (None if expected is None else pytest.approx(expected, rel=1e-5))
                unit = {"entropy": "entropy (nats)", "distance": "distance (tokens)"}[measure]
                values = ["–" if value is None else f"{value:.2f}" for value in attention[measure]]
                cells = [entry["name"], LABELS[attention["attention"]], unit, *values, *["–"] * (3 - len(values))]
                assert f"| {' | '.join(cells)} |" in markdown
                assert "".join(cells) in page.text.replace("\n", "")
        assert {key for key, _ in by_layer} == {each["attention"] for each in entry["attentions"]}
        best = min((head for head in measured if head["aer"] is not None), key=lambda head: head["aer"])
        assert entry["best"] == {"head": best["head"], "aer": pytest.approx(best["aer"])}
        assert f"| {entry['name']} | `{best['head']}` | {best['aer']:.4f} |" in markdown
        assert f"{entry['name']}{best['head']}{best['aer']:.4f}" in page.text
    assert [each["entropy"][0] for each in entries[1]["attentions"] if each["attention"] == "decoder_self"] == [None]


def test_without_the_option_there_is_no_section_and_no_picture(folder: Path) -> None:
    assert call(folder, "--heads", names=("mixed",)) == 0
    report = folder / "report"
    text = (report / "report.md").read_text("utf-8")
    assert "## Heads of Transformers" in text and "AER" not in text and (report / "figures" / "heads.svg").exists()
    assert json.loads((report / "results.json").read_text("utf-8"))["heads"][0]["best"] is None
    assert call(folder, names=("mixed",)) == 0
    for name in ("report.md", "index.html"):
        assert "Heads of Transformers" not in (report / name).read_text("utf-8")
    assert not (report / "figures" / "heads.svg").exists()
    assert json.loads((report / "results.json").read_text("utf-8"))["heads"] == []


def test_what_cannot_be_measured_is_told_before_a_run_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.runs.run.load_run", lambda *arguments: pytest.fail("a run is loaded"))
    short = write_lines(folder / "short", GOLD[1:])
    for names, options, status, sentence in (
        (("luong",), ["--heads"], 2, "none of these systems is a run of one"),
        (("mixed",), ["--gold", str(folder / "gold")], 2, "add --heads"),
        (("mixed",), ["--heads", "--gold", str(short)], 1, f"{short} has 5 lines of gold links for 6 sentence pairs"),
        (("mixed",), ["--heads", "--gold", str(folder / "none")], 1, "none"),
    ):
        assert call(folder, *options, names=names) == status
        assert sentence in capsys.readouterr().err.splitlines()[-1]
