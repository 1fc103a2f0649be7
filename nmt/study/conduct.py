"""Conduct a study: measure what the budget needs, try values, train the runs, and collect their rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nmt.config.schema import Config
from nmt.errors import NmtError
from nmt.evaluation.sets import EvaluationSet, sets_of
from nmt.files import locked
from nmt.study import plan, speeds, work
from nmt.study.conditions import common_data
from nmt.study.cost import Sizes, sizes_from
from nmt.study.ensembles import Ensemble, check_sizes, check_vocabularies, ensembles, untrained
from nmt.study.plan import Run, Variant
from nmt.study.processes import Carry, Failure, Task
from nmt.study.results import RESULTS, Row, Rows, digests_of, known_by, with_metrics
from nmt.study.study import Study

Say = Callable[[str], None]
Key = tuple[str, int | None]  # a system and a seed; None: an ensemble of all seeds


@dataclass
class Outcome:
    """The results of a study, and the runs that failed."""

    study: Study
    test_sets: list[EvaluationSet]  # in the order of the study, the most important first
    variants: list[Variant]
    chosen: dict[str, Variant]  # by system; without the systems of which nothing could be trained
    tries: dict[str, Row]  # by the name of the run
    rows: dict[Key, Row]  # by system and seed
    speeds: dict[str, Row]  # by variant; empty if the budget is in updates
    failures: dict[str, str]  # by the name of the run: why it has no row


@dataclass
class Conductor:
    """A study in its folder, with the functions that print its messages and run its tasks."""

    study: Study
    folder: Path
    say: Say
    carry: Carry
    jobs: int
    data: dict[str, str] = field(default_factory=dict)  # digests of what all runs are validated and scored on
    failures: dict[str, str] = field(default_factory=dict)

    def conduct(self) -> Outcome:
        """Do all that is not done yet, and return what is known then.

        Raises NmtError if another process works in the folder, or if its results are of other conditions.
        """
        with locked(self.folder / ".lock", f"another nmt-study works in {self.folder}: wait for it, or choose another"):
            return self.outcome()

    def outcome(self) -> Outcome:
        """Do what `conduct` does without keeping other processes out of the folder."""
        study = self.study
        planned = plan.variants(study, self.find_sizes)
        plan.check_measurable(study, planned)
        if study.tuning is None:
            check_sizes(study, planned)
        test_sets = sets_of(planned[0].config, study.test_sets or None, self.say)
        self.data = common_data(study, planned, test_sets)
        found, self.failures = speeds.measure(study, planned, self.folder, self._result, self.say)
        measured = [variant for variant in planned if variant.name not in self.failures]
        updates = {each.name: speeds.updates_of(study.budget, study.threads, found.get(each.name)) for each in measured}
        rows = Rows(self.folder / RESULTS)
        tries = plan.tries(study, measured, updates, self.folder)
        if study.tuning is None:  # the runs are known already: refuse before anything is trained
            self._known(rows, plan.runs(study, measured, updates, self.folder))
        tried = self._train(rows, tries, [])
        chosen = choose(study, planned, measured, tried)
        runs = plan.runs(study, list(chosen.values()), updates, self.folder)
        check_sizes(study, list(chosen.values()))
        together = ensembles(study, runs)
        scored = self._scored(rows, together)
        wanted = [each for each in together if each.name not in scored]
        check_vocabularies(wanted, self._fingerprint)
        done = self._train(rows, runs, study.test_sets or None, untrained(wanted))
        scored |= self._score(rows, wanted)
        by_seed: dict[Key, Row] = {
            (run.variant.system, run.config.seed): done[run.name] for run in runs if run.name in done
        }
        by_seed |= {(each.system, each.seed): scored[each.name] for each in together if each.name in scored}
        by_seed = {key: with_metrics(row, study.metrics, test_sets, planned[0].config) for key, row in by_seed.items()}
        # a run that is only trained again for an ensemble has its row, whether or not that failed
        failures = {name: reason for name, reason in self.failures.items() if name not in done}
        return Outcome(study, test_sets, planned, chosen, tried, by_seed, found, failures)

    def find_sizes(self, name: str, config: Config) -> Sizes:
        """Return the sizes of the vocabularies of a configuration; the data are prepared if only they tell."""
        known = sizes_from(config)
        if known is not None:
            return known
        self.say(f"{name}: preparing the data to find the size of the vocabulary")
        sizes: Sizes = self._one(Task(name, work.vocabulary, [config], self._log(f"{name}-vocabulary")))
        return sizes

    def _data(self, run: Run) -> dict[str, str]:
        """Return the digests of the data of a run; one that tries a value is not scored on test sets."""
        own = digests_of(run.variant.config, [], {})
        return own if run.name == run.variant.name and self.study.tuning else self.data | own

    def _known(self, rows: Rows, runs: Sequence[Run]) -> dict[str, Row]:
        """Return the rows of runs that are finished."""
        found = {run.name: rows.get(run.name, known_by(run.config), self._data(run)) for run in runs}
        return {name: row for name, row in found.items() if row is not None}

    def _train(
        self, rows: Rows, runs: Sequence[Run], test_sets: list[str] | None, again: Container[str] = ()
    ) -> dict[str, Row]:
        """Train the runs that are not finished or are named in `again`; return the rows of all that have one then."""
        known = self._known(rows, runs)
        missing = {run.name: run for run in runs if run.name not in known or run.name in again}
        if len(missing) < len(runs):
            self.say(f"{len(runs) - len(missing)} of {len(runs)} runs are finished already")
        data = {name: self._data(run) for name, run in missing.items()}
        arguments = partial(_arguments, self.study, test_sets)
        tasks = [Task(run.name, work.train_and_score, arguments(run), self._log(run.name)) for run in missing.values()]
        started, spent = time.monotonic(), 0
        to_spend = sum(run.config.training.max_steps or 0 for run in missing.values())
        for task, result in self.carry(tasks, self.jobs, lambda task: self.say(f"{task.name}: started")):
            run = missing[task.name]
            spent += run.config.training.max_steps or 0
            left = (time.monotonic() - started) * (to_spend - spent) / spent
            if not isinstance(result, Failure) and self._data(run) != data[run.name]:
                result = Failure(f"its text was changed meanwhile: delete {run.config.run_dir} to train on the new one")
            if isinstance(result, Failure):
                self.failures[run.name] = result.sentence
                told = f"failed: {result.sentence}"
            else:
                own = {"system": run.variant.system, "seed": run.config.seed, "values": run.variant.values}
                stored = rows.known(run.name, run.config)  # equal, but ensembles keep a digest of how it is written
                known[run.name] = rows.add(run.name, stored, data[run.name], own | result)
                told = ", ".join(self._told(result))
            done = f"{len(known)} of {len(runs)} runs are finished"
            self.say(f"{run.name}: {told} ({done}{f', {left / 60:.1f} minutes to go' if left else ''})")
        return {run.name: known[run.name] for run in runs if run.name in known}

    def _scored(self, rows: Rows, together: Sequence[Ensemble]) -> dict[str, Row]:
        """Return the rows of ensembles that are scored."""
        whole = [each for each in together if len(each.runs) == len(each.members)]
        found = {each.name: rows.get(each.name, each.known(rows), self.data) for each in whole}
        return {name: row for name, row in found.items() if row is not None}

    def _score(self, rows: Rows, wanted: Sequence[Ensemble]) -> dict[str, Row]:
        """Score ensembles whose members are trained, and return their rows."""
        ready = {}
        for each in wanted:
            trained = [run.name for run in each.runs if run.name not in self.failures]
            lacking = [name for name in each.members if name not in trained]
            if lacking:
                reasons = [f"{name} ({self.failures[name]})" if name in self.failures else name for name in lacking]
                self.failures[each.name] = f"it needs {', '.join(reasons)}"
            else:
                ready[each.name] = each
        tests = _tests(self.study, self.study.test_sets or None)
        tasks = [
            Task(name, work.score_ensemble, [[run.config for run in each.runs], *tests], self._log(name))
            for name, each in ready.items()
        ]
        found = {}
        for task, result in self.carry(tasks, self.jobs, lambda task: self.say(f"{task.name}: started")):
            each = ready[task.name]
            if isinstance(result, Failure):
                self.failures[each.name] = result.sentence
                self.say(f"{each.name}: failed: {result.sentence}")
                continue
            own: Row = {"system": each.system, "seed": each.seed, "members": list(each.members), "values": {}}
            found[each.name] = rows.add(each.name, each.known(rows), self.data, own | result)
            self.say(f"{each.name}: {', '.join(self._told(result))}")
        return found

    def _fingerprint(self, variant: Variant) -> str:
        """Return a hash of the vocabulary of a variant; its data are prepared if they are not."""
        log = self._log(f"{variant.name}-vocabulary")
        found: str = self._one(Task(variant.name, work.fingerprint, [variant.config], log))
        return found

    def _told(self, figures: Mapping[str, Any]) -> list[str]:
        """Return the validation loss of what has just finished, if it has one, and the score on each test set."""
        if "diverged" in figures:
            return [figures["diverged"]]
        metric, validation = self.study.metric, figures["validation"]
        loss = [] if validation is None else [f"validation loss {validation['loss']:.3f}"]
        return loss + [f"{metric} {test[metric]['score']:.2f} on {name}" for name, test in figures["test"].items()]

    def _result(self, task: Task) -> Any:
        """Run one task alone and return its result, or a Failure."""
        ((_, result),) = self.carry([task], 1, lambda task: None)
        return result

    def _one(self, task: Task) -> Any:
        """Run one task alone and return its result; raises NmtError if it fails."""
        result = self._result(task)
        if isinstance(result, Failure):
            raise NmtError(f"{task.name}: {result.sentence}")
        return result

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.txt"


def _arguments(study: Study, test_sets: list[str] | None, run: Run) -> list[Any]:
    return [run.config, *_tests(study, test_sets)]


def _tests(study: Study, test_sets: list[str] | None) -> list[Any]:
    """Return what something is scored on, and how."""
    return [test_sets, study.gold, study.metrics]


def choose(
    study: Study, planned: Sequence[Variant], measured: Sequence[Variant], tried: Mapping[str, Row]
) -> dict[str, Variant]:
    """Return for each system the variant with the best score on the validation set; on a tie, the first one.

    `measured` are the variants whose number of updates is known. A system is left out if one of its variants could not
    be tried, because that one might turn out to be the best. It is also left out if training diverged with all of its
    variants.
    """
    if study.tuning is None:
        return {variant.system: variant for variant in measured}
    by = study.tuning.by
    chosen = {}
    for system in study.systems:
        own = [variant for variant in planned if variant.system == system]
        if all(variant.name in tried for variant in own):
            scores = [validation_score(tried[variant.name], by) for variant in own]
            if any(tried[variant.name]["validation"]["loss"] is not None for variant in own):
                chosen[system] = own[scores.index(max(scores))]
    return chosen


def validation_score(row: Mapping[str, Any], by: str) -> float:
    """Return a score of which more is better; the lowest for a run that diverged, or did not translate for BLEU."""
    value = row["validation"][by]
    if value is None:
        return float("-inf")
    return -float(value) if by == "loss" else float(value)
