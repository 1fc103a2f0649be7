"""The short form of scripts/torture.py: every file damaged, and some trials of every other kind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from random import Random

import pytest

from tests.torture import damage, malice, stress, trials, workplace
from tests.torture.calls import import_commands

WAYS = [damage.flip_a_bit, damage.become_a_pipe, damage.cut, damage.empty, damage.become_a_folder, damage.remove]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> trials.Trials:
    import_commands()
    folder = tmp_path_factory.mktemp("torture")
    return trials.prepare(workplace.build(folder / "place"), folder / "answers")


def reader_of(file: Path) -> str:
    """Return the command that reads a file of a run, and takes the least time."""
    if "exports" in file.parts:
        return "ctranslate2"
    if "evaluations" in file.parts:
        return "evaluate"
    if file.name in ("metrics.jsonl", "environment.json", "training_state.pt", "last"):
        return "resume"
    return "shortlist" if file.name.startswith("shortlist") else "native"


def files_of(folder: Path) -> list[Path]:
    return sorted(
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name
    )


def test_every_damaged_file_of_a_run_is_named_or_changes_nothing(ready: trials.Trials, tmp_path: Path) -> None:
    failures, ways = [], cycle(WAYS)
    for number, name in enumerate(files_of(ready.place.run)):
        json = [damage.become_other_json] if name.suffix in (".json", ".jsonl") else []
        for way in (next(ways), *json):
            run_dir = damage.copy(ready.place.run, workplace.fresh(tmp_path / "trial") / "run")
            way(run_dir / name, Random(number))
            outcome, answer = trials.read(ready, reader_of(name), run_dir)
            right = trials.may_differ(run_dir / name) or answer == ready.answers[reader_of(name)]
            failures.append(
                trials.judged(f"{way.__name__} of {name}, {reader_of(name)}", outcome, right, run_dir / name)
            )
    assert len(failures) > 25
    assert not list(filter(None, failures))


def test_every_damaged_file_of_prepared_data_is_named(ready: trials.Trials, tmp_path: Path) -> None:
    failures, ways = [], cycle(WAYS)
    for number, name in enumerate(files_of(ready.place.cache)):
        way = next(ways)
        cache = damage.copy(ready.place.cache, workplace.fresh(tmp_path / "trial") / "prepared")
        way(cache / name, Random(number))
        outcome, answer = trials.train_on_store(ready, cache, tmp_path / "trial")
        failures.append(
            trials.judged(f"{way.__name__} of {name}", outcome, answer == ready.answers["store"], cache / name)
        )
    assert len(failures) > 15
    assert not list(filter(None, failures))


@pytest.mark.parametrize(
    ("trial", "count"),
    [(trials.killed, 1), (malice.malicious_run, 4), (stress.starved, 2)],
    ids=["killed", "malicious_run", "starved"],
)
def test_trials_of_other_kinds(
    trial: Callable[[trials.Trials, Path, Random], str | None], count: int, ready: trials.Trials, tmp_path: Path
) -> None:
    failures = [trial(ready, workplace.fresh(tmp_path / "trial"), Random(f"short:{seed}")) for seed in range(count)]
    assert failures == [None] * count
