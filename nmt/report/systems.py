"""The systems in a comparison: runs of this toolkit, and output files of other toolkits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.errors import NmtError
from nmt.evaluation.evaluate import Settings, evaluate
from nmt.evaluation.metrics import check_counts
from nmt.evaluation.sets import EvaluationSet, read_text

if TYPE_CHECKING:
    from nmt.runs.run import LoadedRun


@dataclass(frozen=True)
class History:
    """The course of a training, from metrics.jsonl; minutes count from the first update."""

    validations: list[dict[str, Any]] = field(default_factory=list)  # step, minutes, bleu, loss, ...
    minutes: float | None = None
    updates: int | None = None


@dataclass(frozen=True)
class System:
    """A system in a comparison, with its translations of the test set; the other fields are known for runs only."""

    name: str
    hypotheses: list[str]
    run: LoadedRun | None = None
    history: History = History()
    evaluation: dict[str, Any] = field(default_factory=dict)  # content of scores.json
    environment: dict[str, Any] = field(default_factory=dict)  # content of environment.json

    @property
    def parameters(self) -> int | None:
        """The number of parameters, with shared parameters counted once; None for a file."""
        return None if self.run is None else sum(parameter.numel() for parameter in self.run.model.parameters())


def system_of_run(
    name: str, run: LoadedRun, test_set: EvaluationSet, settings: Settings, log: Callable[[str], None]
) -> System:
    """Return the system of a run; translate the test set unless translations from an earlier call are kept."""
    evaluation = evaluate(run, test_set, settings, log)
    if evaluation.reused:
        log(f"{run.path}: using the translations in {evaluation.folder}")
    history = read_history(run.path / "metrics.jsonl")
    return System(name, evaluation.hypotheses, run, history, evaluation.record, read_environment(run.path))


def system_of_file(name: str, path: str | Path, test_set: EvaluationSet) -> System:
    """Return the system of an output file of any toolkit, which is detokenised and has one line per source line."""
    hypotheses = read_text(path)
    check_counts(hypotheses, test_set.references, str(path), f"the reference of {test_set.name}")
    return System(name, hypotheses)


def read_history(path: str | Path) -> History:
    """Read a run's metrics.jsonl, empty if it does not exist; skip a last line that a crash left incomplete."""
    path = Path(path)
    if not path.is_file():
        return History()
    events = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            events.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise NmtError(f"{path}, line {number}: this is no JSON") from error
    timed = [event for event in events if "step" in event and "minutes" in event]
    return History(
        validations=[event for event in timed if event["event"] == "validation"],
        minutes=max((event["minutes"] for event in timed), default=None),
        updates=max((event["step"] for event in timed), default=None),
    )


def read_environment(run_dir: Path) -> dict[str, Any]:
    """Read a run's environment.json, empty if it does not exist. Raises NmtError if it is damaged."""
    path = run_dir / "environment.json"
    if not path.is_file():
        return {}
    try:
        environment = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NmtError(f"{path} is damaged: it is no JSON") from error
    return environment if isinstance(environment, dict) else {}


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, with -2, -3, ... added to repeated ones."""
    result: list[str] = []
    for name in names:
        candidates = chain([name], (f"{name}-{number}" for number in count(2)))
        result.append(next(candidate for candidate in candidates if candidate not in result))
    return result
