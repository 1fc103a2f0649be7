"""Test the budgets of trainings, and the sentence about their differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nmt.report.budgets import compare_budgets
from nmt.report.systems import History, System
from nmt.runs.run import load_run
from tests.evaluation.runs import make_run, write_texts


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    folder = tmp_path_factory.mktemp("budgets")
    write_texts(folder)
    run = load_run(make_run(folder / "luong", "luong", folder))
    return System("a", [], run, History(minutes=10.0, updates=100), {}, environment())


def environment(**changes: Any) -> dict[str, Any]:
    return {"processes": 1, "cpu_threads": 2, "device": "cpu", "hardware": "a processor"} | changes


def test_equal_budgets_and_small_differences_are_not_mentioned(system: System) -> None:
    other = replace(system, name="b", history=History(minutes=10.9, updates=101))
    assert compare_budgets([system, other])["sentence"] == ""
    assert compare_budgets([system])["sentence"] == ""


def test_minutes_are_multiplied_by_threads_and_processes(system: System) -> None:
    faster = replace(
        system, name="b", history=History(minutes=5.0, updates=100), environment=environment(cpu_threads=4)
    )
    assert compare_budgets([system, faster])["sentence"] == ""
    wider = replace(system, name="b", environment=environment(processes=3))
    found = compare_budgets([system, wider])
    assert [entry["figure"] for entry in found["differences"]] == ["thread_minutes"]
    assert found["differences"][0]["ratio"] == pytest.approx(3)
    assert found["sentence"] == ("The systems had different budgets: minutes x threads 20 (a) to 60 (b), 3.0 times.")


def test_different_updates_tokens_and_parameters_are_mentioned(system: System, tmp_path: Path) -> None:
    write_texts(tmp_path)
    run = load_run(make_run(tmp_path / "transformer", "transformer", tmp_path))
    run.config.training.tokens_per_update *= 4
    other = replace(system, name="b", run=run, history=History(minutes=10.0, updates=200))
    found = {entry["figure"]: entry["ratio"] for entry in compare_budgets([system, other])["differences"]}
    sizes = [one.parameters or 0 for one in (system, other)]
    assert found == {"updates": 2.0, "tokens": 8.0, "parameters": pytest.approx(max(sizes) / min(sizes))}


def test_different_hardware_and_unknown_budgets_are_mentioned(system: System) -> None:
    on_card = replace(system, name="b", environment=environment(device="cuda", hardware="a card"))
    found = compare_budgets([system, on_card, System("theirs", [])])
    assert found["hardware"] == {"a": "a processor", "b": "a card"} and found["unknown"] == ["theirs"]
    assert "hardware a processor (a), a card (b)" in found["sentence"]
    assert found["sentence"].endswith("The training budget of theirs is not known.")
    pruned = replace(system, name="pruned", history=History())
    assert compare_budgets([system, pruned])["unknown"] == ["pruned"]
