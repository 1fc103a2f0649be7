"""speeds.json of a study: how fast each variant trains, or how large its updates are.

From these, a budget in core-minutes or target tokens becomes a number of updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.study import work
from nmt.study.plan import Variant
from nmt.study.processes import Failure, Task
from nmt.study.results import SPEEDS, Row, Rows, digests_of, known_by
from nmt.study.study import Budget, Study

# Keys that do not change a speed. The training text is known by its digest, wherever it is.
_UNIMPORTANT = ("seed", "data.path", "data.val", "data.test")


def measure(
    study: Study,
    planned: Sequence[Variant],
    folder: Path,
    one: Callable[[Task], Any],
    say: Callable[[str], None],
) -> tuple[dict[str, Row], dict[str, str]]:
    """Return the speed of each variant, or its tokens an update, and the reason for each that could not be measured.

    What is not in speeds.json is measured, one variant after another; `one` does a task and returns its result or a
    Failure. Nothing is measured if the budget is in updates.
    """
    budget = study.budget
    if budget.updates is not None:
        return {}, {}
    rows = Rows(folder / SPEEDS, _UNIMPORTANT)
    figure = "updates_per_minute" if budget.core_minutes else "target_tokens_per_update"
    found, failures = {}, {}
    for variant in planned:
        data = {"data.train": digests_of(variant.config, [], {})["data.train"]}
        config = variant.with_updates(10**9, study.seeds[0], folder / "speeds" / variant.name)
        row = rows.get(variant.name, known_by(config), data)
        if row is None or figure not in row:
            say(f"{variant.name}: measuring {'its speed' if budget.core_minutes else 'its updates'}")
            log = folder / "logs" / f"{variant.name}-speed.txt"
            if budget.core_minutes:
                task = Task(variant.name, work.updates_per_minute, [config, budget.measured_seconds], log)
            else:
                task = Task(variant.name, work.tokens_per_update, [config], log)
            result = one(task)
            if isinstance(result, Failure):
                failures[variant.name] = result.sentence
                continue
            row = rows.add(variant.name, known_by(config), data, result)
        found[variant.name] = row
    return found, failures


def updates_of(budget: Budget, threads: int, speed: Mapping[str, Any] | None) -> int:
    """Return the updates of a run that spends the whole budget, given its row in speeds.json."""
    if budget.updates is not None:
        return budget.updates
    assert speed is not None, "measured, because the budget is not in updates"
    if budget.target_tokens is not None:
        return max(1, round(budget.target_tokens / float(speed["target_tokens_per_update"])))
    return max(1, round((budget.core_minutes or 0) / threads * float(speed["updates_per_minute"])))
