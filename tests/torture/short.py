"""The short form of scripts/torture.py: every file damaged, and some trials of every other kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.torture import every, malice, trials, workplace
from tests.torture.calls import import_commands


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> trials.Trials:
    import_commands()
    folder = tmp_path_factory.mktemp("torture")
    return trials.prepare(workplace.build(folder / "place"), folder / "answers")


def test_every_damaged_file_of_a_run_is_named_or_changes_nothing(ready: trials.Trials, tmp_path: Path) -> None:
    failures = list(every.of_run(ready, tmp_path / "trial", every.one_in_turn()))
    assert len(failures) > 25
    assert not list(filter(None, failures))


def test_every_damaged_file_of_prepared_data_is_named(ready: trials.Trials, tmp_path: Path) -> None:
    failures = list(every.of_store(ready, tmp_path / "trial", every.one_in_turn()))
    assert len(failures) > 15
    assert not list(filter(None, failures))


@pytest.mark.parametrize(
    ("trial", "count"),
    [(trials.killed, 1), (malice.malicious_run, 4)],
    ids=["killed", "malicious_run"],
)
def test_trials_of_other_kinds(
    trial: Callable[[trials.Trials, Path, Random], str | None], count: int, ready: trials.Trials, tmp_path: Path
) -> None:
    failures = [trial(ready, workplace.fresh(tmp_path / "trial"), Random(f"short:{seed}")) for seed in range(count)]
    assert failures == [None] * count
