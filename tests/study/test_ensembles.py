"""Ensembles in studies: their members and scores, resumption, refusals, and their rows in report and dry run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import nmt
from nmt.errors import ConfigError
from nmt.inference.word_attention import Selection, word_attention
from nmt.runs.run import load_run
from nmt.study import ensembles
from tests.forked import forked
from tests.study.tiny import conducted, tables, write_study

ENSEMBLES = {"both": ["transformer", "smaller"], "all": ["smaller"]}
MEMBERS = {
    "both-seed1": ["transformer-seed1", "smaller-seed1"],
    "both-seed2": ["transformer-seed2", "smaller-seed2"],
    "all-seeds1-2": ["smaller-seed1", "smaller-seed2"],
}


def links(folder: Path) -> str:
    """Write gold alignments of the eight test sentences and return the name of the file."""
    (folder / "links").write_text("0-0 1-1\n" * 8, encoding="utf-8")
    return "links"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Conduct one study with ensembles; return the folder of its files, and its figures."""
    folder = tmp_path_factory.mktemp("ensembles")
    path = write_study(folder, ensembles=ENSEMBLES, test_sets=["test"], gold={"test": links(folder)})
    return folder, conducted(path, folder / "out")


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    return found


def test_ensembles_translate_as_nmt_translate_does(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    lines = (folder / "text" / "test.aa").read_text("utf-8").splitlines()
    rows = results(folder)
    assert {name: row["members"] for name, row in rows.items() if "members" in row} == MEMBERS
    for name, members in MEMBERS.items():
        together = nmt.load([folder / "out" / "runs" / member for member in members], device="cpu")
        assert rows[name]["test"]["test"]["hypotheses"] == together.translate(lines)
        assert rows[name]["environment"]["parameters"] == sum(
            rows[each]["environment"]["parameters"] for each in members
        )
    assert not list((folder / "out" / "runs").glob("both*")), "an ensemble trains nothing"


def test_the_alignment_error_is_that_of_the_mean_attention(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    texts = [(folder / "text" / f"test.{language}").read_text("utf-8").splitlines() for language in ("aa", "bb")]
    rows = results(folder)
    for name, members in MEMBERS.items():
        runs = [load_run(folder / "out" / "runs" / member) for member in members]
        weights = [
            [each.weights for each in word_attention(run.model, run.tokenizer, texts[0], texts[1], Selection())]
            for run in runs
        ]
        hits = made = 0
        for first, second in zip(*weights, strict=True):
            mean = ((first + second) / 2)[:-1, :-1]
            chosen = {(int(row.argmax()), target) for target, row in enumerate(mean)}
            hits, made = hits + len(chosen & {(0, 0), (1, 1)}), made + len(chosen)
        assert rows[name]["test"]["test"]["aer"] == pytest.approx(1 - 2 * hits / (made + 2 * 8))


def test_ensembles_have_rows_in_the_report(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, found = finished
    assert [(run["system"], run["seed"]) for run in found["runs"]][4:] == [("both", 1), ("both", 2), ("all", None)]
    verdicts = {each["system"]: each for each in found["test_sets"]["test"]["verdicts"]}
    assert list(verdicts) == ["smaller", "both", "all"]
    assert verdicts["both"]["p_over_seeds"] is not None and verdicts["all"]["p_over_seeds"] is None
    assert list(verdicts["all"]["p_within_seeds"]) == [1, 2]
    page = tables(folder / "out")
    assert f"| {verdicts['all']['verdict']} (one result for all seeds) |" in page
    assert "- both: ensemble of transformer, smaller, with each seed" in page
    assert "- all: ensemble of all seeds of smaller" in page
    assert "| all | all | - | - |" in page


def test_scored_ensembles_are_known_without_the_runs(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    assert conducted(folder / "study.yaml", tmp_path / "out")["said"] == ["4 of 4 runs are finished already"]
    assert tables(tmp_path / "out") == tables(folder / "out")


def test_an_ensemble_that_is_not_scored_yet_is(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    rows = results(folder)
    for name in MEMBERS:
        del rows[name]
    (tmp_path / "out" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    shutil.rmtree(tmp_path / "out" / "runs" / "smaller-seed2")  # has to be trained again
    kept = [
        (tmp_path / "out" / "runs" / name / "metrics.jsonl").stat() for name in ("smaller-seed1", "transformer-seed2")
    ]
    again = conducted(folder / "study.yaml", tmp_path / "out")
    assert "3 of 4 runs are finished already" in again["said"]
    assert tables(tmp_path / "out") == tables(folder / "out")
    assert kept == [
        (tmp_path / "out" / "runs" / name / "metrics.jsonl").stat() for name in ("smaller-seed1", "transformer-seed2")
    ]


def test_the_ensemble_of_more_seeds_is_another_one(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    values = json.loads((folder / "study.yaml").read_text("utf-8"))
    path = tmp_path / "copy" / "study.yaml"
    base = str(folder / "base.yaml")  # the same text
    path.write_text(json.dumps(values | {"seeds": [1, 2, 3], "base": base}), encoding="utf-8")
    grown = conducted(path, tmp_path / "copy" / "out")
    row = results(tmp_path / "copy")["all-seeds1-2-3"]
    assert row["members"] == ["smaller-seed1", "smaller-seed2", "smaller-seed3"]
    assert [run["members"] for run in grown["runs"] if run["system"] == "all"] == [row["members"]]


def test_scores_from_before_a_key_came_are_those_with_its_default(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    rows = results(folder)
    for name, row in rows.items():
        if name not in MEMBERS:
            assert row["config"].pop("training.max_rollbacks") == 3
    for name, members in MEMBERS.items():
        for member in members:
            rows[name]["config"][f"members.{member}"] = ensembles._digest(rows[member]["config"])
    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    assert conducted(folder / "study.yaml", tmp_path)["said"] == ["4 of 4 runs are finished already"]


def test_a_report_names_the_ensembles_that_are_not_scored(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Their members have rows, also if their folders are gone."""
    folder, _ = finished
    rows = results(folder)
    del rows["both-seed1"]
    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    outcome = forked("nmt-study", [folder / "study.yaml", "-o", tmp_path, "--report"])
    assert outcome.status == 0, outcome.err
    missing = [line for line in outcome.out.splitlines() if line.startswith("missing: ")]
    assert len(missing) == 1 and missing[0].startswith("missing: both-seed1: it needs transformer-seed1 (not finished)")


def test_members_with_different_vocabularies_are_refused(tmp_path: Path) -> None:
    systems = {"bpe": [], "larger": ["tokenizer.vocab_size=70"], "other": ["tokenizer.normalization=nfkc"]}
    path = write_study(tmp_path, systems=systems, ensembles={"both": ["bpe", "larger"]})
    outcome = forked("nmt-study", [path, "--dry-run"])
    assert outcome.status == 1
    told = "ensembles.both: bpe has vocabularies of 60 and 60 tokens and larger of 70 and 70; the models of an ensemble"
    assert told in outcome.err
    path = write_study(tmp_path, systems=systems, ensembles={"both": ["bpe", "other"]})
    with pytest.raises(ConfigError, match=r"ensembles.both: bpe and other have different vocabularies of equal size"):
        conducted(path, tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists(), "it is refused before anything is trained"


def test_an_ensemble_of_a_run_that_failed_has_no_row(tmp_path: Path) -> None:
    systems = {"transformer": [], "broken": ["training.tokens_per_update=5"]}
    path = write_study(tmp_path, systems=systems, seeds=[1], ensembles={"both": ["transformer", "broken"]})
    found = conducted(path, tmp_path / "out")
    assert list(found["failures"]) == ["broken-seed1", "both-seed1"]
    assert found["failures"]["both-seed1"] == f"it needs broken-seed1 ({found['failures']['broken-seed1']})"
    assert [run["system"] for run in found["runs"]] == ["transformer"]


def test_a_dry_run_lists_ensembles(tmp_path: Path) -> None:
    outcome = forked("nmt-study", [write_study(tmp_path, ensembles=ENSEMBLES), "--dry-run"])
    assert outcome.status == 0, outcome.err
    rows = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if "-seed" in line}
    counts = {name: int(cells[0].replace(",", "")) for name, cells in rows.items()}
    assert list(counts)[4:] == list(MEMBERS)
    for name, members in MEMBERS.items():
        assert counts[name] == sum(counts[member] for member in members)
        assert rows[name][1:] == ["-", "-", "-", "-"]
    assert "all: ensemble of all seeds of smaller" in outcome.out
    assert "4 runs, about" in outcome.out
