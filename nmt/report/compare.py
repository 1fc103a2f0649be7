"""The comparison of systems on one test set: translate where needed, score, write the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.config.languages import language_of
from nmt.errors import NmtError, UsageError
from nmt.evaluation.buckets import source_lengths
from nmt.evaluation.evaluate import Settings
from nmt.evaluation.sets import EvaluationSet, set_from_files, sets_of
from nmt.evaluation.significance import Method
from nmt.files import make_folder
from nmt.report.analysis import analyse
from nmt.report.attention import SentenceMaps, attention_maps, choose_sentences
from nmt.report.differences import largest_differences
from nmt.report.fonts import missing_characters
from nmt.report.render import Report, write_report
from nmt.report.systems import System, run_names, system_of_file, system_of_run, unique_names

if TYPE_CHECKING:
    from nmt.run import LoadedRun


@dataclass(frozen=True)
class Contestant:
    """A run directory, or the output file of another toolkit under a name."""

    path: Path
    name: str | None = None  # None: a run directory, named after its last part


@dataclass(frozen=True)
class Request:
    """What to compare, and on what."""

    contestants: Sequence[Contestant]
    folder: Path
    source: str | Path | None = None
    reference: str | Path | Sequence[str | Path] | None = None  # or several
    test_set: str | None = None  # default: the first run's first test set
    languages: tuple[str, str] | None = None  # needed only where no run tells them
    sentences: Sequence[int] | None = None  # lines (from 1) whose attention is shown; default: short, median, long
    checkpoint: str | None = None
    tag: str | None = None  # of all lines; default: the test set's
    settings: Settings = field(default_factory=Settings)
    significance: Method = "bootstrap"


def compare(request: Request, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the report into request.folder and return what results.json says."""
    make_folder(request.folder)
    runs = _load_runs(request, log)
    test_set = _test_set(request, list(runs.values())).tagged(request.tag)
    languages = _languages(request, list(runs.values()))
    _check_sentences(request.sentences, test_set)
    systems = _systems(request, runs, test_set, log)
    results = analyse(systems, test_set, languages, log, request.significance)
    lines = request.sentences
    if lines is None:
        answered = [all(texts) for texts in zip(*(system.hypotheses for system in systems), strict=True)]
        lines = choose_sentences(source_lengths(test_set.sources, languages[0]), answered)
    maps = attention_maps(systems, test_set, lines, languages, log)
    _report_missing(maps, log)
    differences = []
    if len(systems) > 1:
        hypotheses = [(system.name, system.hypotheses) for system in systems]
        differences = largest_differences(hypotheses, test_set, languages[1])
    write_report(Report(results, systems, maps, differences), request.folder)
    return results


def _load_runs(request: Request, log: Callable[[str], None]) -> dict[Path, LoadedRun]:
    paths = [contestant.path for contestant in request.contestants if contestant.name is None]
    if not paths:
        return {}
    from nmt.run import load_run

    return {path: load_run(path, request.checkpoint) for path in paths}


def _test_set(request: Request, runs: Sequence[LoadedRun]) -> EvaluationSet:
    if request.source is not None and request.reference is not None:
        return set_from_files(request.source, request.reference, request.test_set)
    if not runs:
        raise UsageError("files alone need --source and --reference to be scored against")
    names = None if request.test_set is None else [request.test_set]
    return sets_of(runs[0].config, names)[0]


def _languages(request: Request, runs: Sequence[LoadedRun]) -> tuple[str, str]:
    """Return the direction, which all runs must share, as the first spells it."""
    directions = {run.path: (run.config.data.source_language, run.config.data.target_language) for run in runs}
    if len({tuple(map(language_of, direction)) for direction in directions.values()}) > 1:
        told = ", ".join(f"{path} {source}-{target}" for path, (source, target) in directions.items())
        raise NmtError(f"these runs translate in different directions: {told}")
    if request.languages is not None:
        return request.languages
    return next(iter(directions.values()), ("", ""))


def _check_sentences(sentences: Sequence[int] | None, test_set: EvaluationSet) -> None:
    for line in sentences or ():
        if not 1 <= line <= len(test_set.sources):
            raise UsageError(f"--sentences {line}: {test_set.name} has lines 1 to {len(test_set.sources):,}")


def _systems(
    request: Request, runs: dict[Path, LoadedRun], test_set: EvaluationSet, log: Callable[[str], None]
) -> list[System]:
    from_runs = iter(run_names(list(runs)))
    wanted = [contestant.name or next(from_runs) for contestant in request.contestants]
    systems = []
    for name, contestant in zip(unique_names(wanted), request.contestants, strict=True):
        if contestant.name is None:
            systems.append(system_of_run(name, runs[contestant.path], test_set, request.settings, log))
        else:
            systems.append(system_of_file(name, contestant.path, test_set))
    return systems


def _report_missing(maps: Sequence[SentenceMaps], log: Callable[[str], None]) -> None:
    texts = [
        text for sentence in maps for shown in sentence.maps for text in (*shown.picture.keys, *shown.picture.queries)
    ]
    missing = missing_characters(texts)
    if missing:
        log(f"no installed font has {missing!r}: heatmaps show boxes in their place (install one, such as Noto Sans)")
