"""Every file of a run and of prepared data, damaged in one way or in all, and read by the command that needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from random import Random

from tests.torture import damage, trials, workplace

Way = Callable[[Path, Random], None]
WAYS: list[Way] = [
    *(damage.flip_a_bit, damage.become_a_pipe, damage.cut, damage.empty, damage.become_a_folder, damage.remove),
]


def all_ways() -> list[Way]:
    return WAYS


def one_in_turn() -> Callable[[], list[Way]]:
    """Return a function that returns another way at each call, in turn."""
    ways = cycle(WAYS)
    return lambda: [next(ways)]


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


def of_run(ready: trials.Trials, folder: Path, ways: Callable[[], list[Way]]) -> Iterator[str | None]:
    """Damage each file of a run in `ways()`, JSON files also by a value of another type; yield what went wrong."""
    for number, name in enumerate(files_of(ready.place.run)):
        json = [damage.become_other_json] if name.suffix in (".json", ".jsonl") else []
        for way in (*ways(), *json):
            run_dir = damage.copy(ready.place.run, workplace.fresh(folder) / "run")
            way(run_dir / name, Random(number))
            outcome, answer = trials.read(ready, reader_of(name), run_dir)
            right = trials.may_differ(run_dir / name) or answer == ready.answers[reader_of(name)]
            yield trials.judged(f"{way.__name__} of {name}, {reader_of(name)}", outcome, right, run_dir / name)


def of_store(ready: trials.Trials, folder: Path, ways: Callable[[], list[Way]]) -> Iterator[str | None]:
    """Damage each file of prepared data in `ways()`, and train on it; yield what went wrong."""
    for number, name in enumerate(files_of(ready.place.cache)):
        for way in ways():
            cache = damage.copy(ready.place.cache, workplace.fresh(folder) / "prepared")
            way(cache / name, Random(number))
            outcome, answer = trials.train_on_store(ready, cache, folder)
            yield trials.judged(f"{way.__name__} of {name}", outcome, answer == ready.answers["store"], cache / name)
