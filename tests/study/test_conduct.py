"""Whole studies: rows and tables, resumption after kills, refusals to mix, failures, tuning and budgets."""

from __future__ import annotations

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nmt.errors import NmtError
from nmt.evaluation.metrics import METRICS
from nmt.files import locked
from nmt.runs.run import read_run_config
from nmt.study.study import read_study
from tests.forked import forked, status_of
from tests.study.tiny import MOMENTS, conducted, killed, tables, write_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Conduct one study without interruption; return the folder of its files, and its figures."""
    folder = tmp_path_factory.mktemp("study")
    return folder, conducted(write_study(folder), folder / "out")


def test_a_study_has_a_run_of_each_system_with_each_seed(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, found = finished
    runs = [(run["system"], run["seed"]) for run in found["runs"]]
    assert runs == [("transformer", 1), ("smaller", 1), ("transformer", 2), ("smaller", 2)]
    for system, seed in runs:
        config = read_run_config(folder / "out" / "runs" / f"{system}-seed{seed}")
        assert (config.seed, config.training.max_steps, config.training.patience) == (seed, 6, None)
    page = tables(folder / "out")
    (verdict,) = found["test_sets"]["test"]["verdicts"]
    assert found["rule"] in page
    assert f"| {verdict['verdict']} |" in page
    assert "- seeds: 1, 2" in page and "6 updates" in page


def test_finished_runs_are_known_without_their_folders(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    again = conducted(folder / "study.yaml", tmp_path / "out")
    assert tables(tmp_path / "out") == tables(folder / "out")
    assert again["said"] == ["4 of 4 runs are finished already"]
    assert not (tmp_path / "out" / "runs").exists()


def test_killed_at_many_moments_and_resumed_to_the_same_tables(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    for moment in MOMENTS:
        assert status_of(killed, folder / "study.yaml", tmp_path / "out", moment) == -signal.SIGKILL, moment
    assert not (tmp_path / "out" / "study.md").exists()
    conducted(folder / "study.yaml", tmp_path / "out")
    assert tables(tmp_path / "out") == tables(folder / "out")


def test_results_from_before_a_key_came_are_those_with_its_default(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    rows = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    for row in rows.values():
        assert row["config"].pop("training.max_rollbacks") == 3
        assert row["config"].pop("model.heads.dropout") == 0.0
    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    assert conducted(folder / "study.yaml", tmp_path)["said"] == ["4 of 4 runs are finished already"]
    rows["smaller-seed1"]["config"]["training.max_rollbacks"] = 2
    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(NmtError, match=r"smaller-seed1 with other conditions \(training.max_rollbacks=2, now 3\)"):
        conducted(folder / "study.yaml", tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"overrides": ["training.learning_rate=0.02"]}, "training.learning_rate=0.01, now 0.02"),
        ({"systems": {"transformer": [], "smaller": ["model.ffn_dim=8"]}}, "smaller-seed1 .*model.ffn_dim=12, now 8"),
        ({"budget": {"updates": 7}}, "training.max_steps=6, now 7"),
    ],
    ids=str,
)
def test_results_of_changed_configurations_are_not_mixed(
    changes: dict[str, Any], sentence: str, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    values = json.loads((folder / "study.yaml").read_text("utf-8")) | changes
    (tmp_path / "copy" / "study.yaml").write_text(json.dumps(values), encoding="utf-8")
    before = (tmp_path / "copy" / "out" / "results.json").read_bytes()
    with pytest.raises(NmtError, match=f"results.json has .*{sentence}.* results are not mixed"):
        conducted(tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "out")
    assert (tmp_path / "copy" / "out" / "results.json").read_bytes() == before


@pytest.mark.parametrize(("file", "key"), [("train.aa", "data.train"), ("val.bb", "data.val"), ("test.bb", "test")])
def test_results_of_changed_data_are_not_mixed(
    file: str, key: str, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    text = folder / "text" / file
    original = text.read_text("utf-8")
    text.write_text(original.replace("a", "i", 1), encoding="utf-8")
    try:
        with pytest.raises(NmtError, match=rf"transformer-seed1 .*the content of \S*{key}"):
            conducted(folder / "study.yaml", tmp_path / "out")
    finally:
        text.write_text(original, encoding="utf-8")


def test_a_study_grows_by_seeds_and_systems(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, found = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    values = json.loads((folder / "study.yaml").read_text("utf-8"))
    values |= {"seeds": [1, 2, 3], "base": str(folder / "base.yaml"), "test_sets": ["test"]}
    (tmp_path / "study.yaml").write_text(json.dumps(values), encoding="utf-8")
    grown = conducted(tmp_path / "study.yaml", tmp_path / "out")
    assert "4 of 6 runs are finished already" in grown["said"]
    assert grown["runs"][:4] == found["runs"]
    assert len(grown["runs"]) == 6


def test_a_test_set_can_be_added_and_scores_what_is_trained(tmp_path: Path) -> None:
    path = write_study(tmp_path, systems={"transformer": []}, seeds=[1], test_sets=["test"], metrics=["bleu", "chrf"])
    before = conducted(path, tmp_path / "out")
    assert [name for name in METRICS if name in before["runs"][0]["test"]["test"]] == ["bleu", "chrf"]
    assert "| test: BLEU / chrF |" in tables(tmp_path / "out")
    for language in ("aa", "bb"):
        shutil.copy(tmp_path / "text" / f"val.{language}", tmp_path / "text" / f"test_more.{language}")
    trained = (tmp_path / "out" / "runs" / "transformer-seed1" / "metrics.jsonl").read_bytes()
    path = write_study(
        tmp_path, systems={"transformer": []}, seeds=[1], test_sets=["test", "test_more"], metrics=["bleu", "chrf"]
    )
    after = conducted(path, tmp_path / "out")
    assert list(after["test_sets"]) == ["test", "test_more"]
    assert after["runs"][0]["test"]["test"] == before["runs"][0]["test"]["test"]
    assert (tmp_path / "out" / "runs" / "transformer-seed1" / "metrics.jsonl").read_bytes() == trained


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    systems = {"transformer": [], "broken": ["training.tokens_per_update=5"]}
    path = write_study(tmp_path, systems=systems, seeds=[1])
    found = conducted(path, tmp_path / "out")
    assert list(found["failures"]) == ["broken-seed1"]
    assert "tokens" in found["failures"]["broken-seed1"]
    assert [run["system"] for run in found["runs"]] == ["transformer"]
    assert "These runs are missing" in tables(tmp_path / "out")
    outcome = forked("nmt-study", [path, "-o", tmp_path / "out"])
    assert outcome.status == 1
    assert "missing: broken-seed1: " in outcome.out
    assert "1 of 2 runs are finished already" in outcome.err


def test_equal_tuning_tries_each_value_and_takes_the_best(tmp_path: Path) -> None:
    tuning = {"values": {"training.learning_rate": [1e-7, 0.02]}, "share": 0.5}
    found = conducted(write_study(tmp_path, tuning=tuning, seeds=[1]), tmp_path / "out")
    for system in ("transformer", "smaller"):
        low, high = found["tried"][system]
        assert (low["updates"], high["updates"]) == (3, 3)
        assert high["loss"] < low["loss"]
        assert (low["chosen"], high["chosen"]) == (False, True)
        config = read_run_config(tmp_path / "out" / "runs" / f"{system}-seed1")
        assert config.training.learning_rate == 0.02
    page = tables(tmp_path / "out")
    assert page.count("`training.learning_rate=1e-07`") == 2 and page.count("| chosen |") == 2


def test_core_minutes_become_updates_once(tmp_path: Path) -> None:
    budget = {"core_minutes": 0.001, "measured_seconds": 1.0}
    path = write_study(tmp_path, budget=budget, seeds=[1], systems={"transformer": []})
    found = conducted(path, tmp_path / "out")
    speed = found["conditions"]["speeds"]["transformer"]["updates_per_minute"]
    assert found["runs"][0]["updates"] == max(1, round(0.001 * speed))
    assert not list((tmp_path / "out" / "speeds").iterdir()), "what only measures is removed"
    again = conducted(path, tmp_path / "out")
    assert again["conditions"]["speeds"] == found["conditions"]["speeds"]


def test_target_tokens_become_updates(tmp_path: Path) -> None:
    path = write_study(tmp_path, budget={"target_tokens": 500}, seeds=[1], systems={"transformer": []})
    found = conducted(path, tmp_path / "out")
    size = found["conditions"]["speeds"]["transformer"]["target_tokens_per_update"]
    assert 20 < size <= 150
    assert found["runs"][0]["updates"] == round(500 / size)


def test_a_dry_run_prints_the_runs_and_starts_nothing(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    outcome = forked("nmt-study", [path, "--dry-run"])
    assert outcome.status == 0, outcome.err
    rows = [line.split() for line in outcome.out.splitlines() if "-seed" in line]
    assert [row[0] for row in rows] == ["transformer-seed1", "smaller-seed1", "transformer-seed2", "smaller-seed2"]
    assert {row[3] for row in rows} == {"6"}
    assert int(rows[0][1].replace(",", "")) > int(rows[1][1].replace(",", ""))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["base.yaml", "study.yaml", "text"]


def test_a_dry_run_that_has_to_prepare_data_leaves_nothing_where_it_runs(tmp_path: Path) -> None:
    study = write_study(tmp_path, overrides=["tokenizer.algorithm=word", "tokenizer.vocab_size=auto"])
    here = tmp_path / "here"
    here.mkdir()
    outcome = forked("nmt-study", [study, "--dry-run"], first=partial(os.chdir, here))
    assert outcome.status == 0, outcome.err
    assert "preparing the data to find the size of the vocabulary" in outcome.err
    assert not list(here.iterdir())


def test_a_report_of_what_is_finished(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """With --report nothing is trained, also while another nmt-study has the folder; a folder without rows is told."""
    folder, _ = finished
    command = [folder / "study.yaml", "-o", tmp_path, "--report"]
    assert "has no finished run" in forked("nmt-study", command).err
    rows = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    del rows["smaller-seed2"]
    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    with locked(tmp_path / ".lock", "another nmt-study"):
        outcome = forked("nmt-study", command)
    assert outcome.status == 0, outcome.err
    assert "missing: smaller-seed2: not finished" in outcome.out
    assert "- smaller-seed2: not finished" in tables(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == rows
    assert not (tmp_path / "runs").exists()
    shutil.copy(folder / "out" / "results.json", tmp_path)
    assert forked("nmt-study", command).status == 0
    assert tables(tmp_path) == tables(folder / "out")


def test_the_folder_is_named(tmp_path: Path) -> None:
    outcome = forked("nmt-study", [write_study(tmp_path)])
    assert outcome.status == 2
    assert "name the folder of the study with -o DIR" in outcome.err
    assert read_study(str(tmp_path / "study.yaml")).first == "transformer"
