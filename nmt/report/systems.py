"""The systems in a comparison: runs of this toolkit, and output files of other toolkits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.evaluation.evaluate import Settings, evaluate
from nmt.evaluation.metrics import check_counts
from nmt.evaluation.sets import EvaluationSet, read_text
from nmt.runs.environment import read_environment
from nmt.runs.metrics import read_events

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
    """Read a run's metrics.jsonl, empty if it does not exist. Raises Damaged, naming the line, if it is damaged."""
    events, _ = read_events(Path(path))
    timed = [event.entry for event in events if event.entry.get("minutes") is not None]
    return History(
        validations=[entry for entry in timed if entry["event"] == "validation"],
        minutes=max((entry["minutes"] for entry in timed), default=None),
        updates=max((entry["step"] for entry in timed), default=None),
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, with -2, -3, ... added to repeated ones."""
    result: list[str] = []
    for name in names:
        candidates = chain([name], (f"{name}-{number}" for number in count(2)))
        result.append(next(candidate for candidate in candidates if candidate not in result))
    return result
