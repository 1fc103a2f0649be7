"""Compare systems on one test set: translate it if needed, compute scores and write the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.config.languages import language_of
from nmt.data.corpora import test_sets
from nmt.errors import NmtError, UsageError
from nmt.evaluation.buckets import source_lengths
from nmt.evaluation.evaluate import Settings, refuse_run_options
from nmt.evaluation.sets import EvaluationSet, set_from_files, sets_of
from nmt.evaluation.significance import Method
from nmt.evaluation.tagged import target_language
from nmt.files import check_writable
from nmt.pictures.fonts import missing_characters
from nmt.report.analysis import analyse
from nmt.report.attention import SentenceMaps, attention_maps, choose_sentences
from nmt.report.differences import largest_differences
from nmt.report.heads import heads_of_systems
from nmt.report.render import Report, check_folder, write_report
from nmt.report.systems import System, system_of_file, system_of_run, unique_names

if TYPE_CHECKING:
    from nmt.config.schema import Config
    from nmt.data.alignments import Gold


@dataclass(frozen=True)
class Contestant:
    """A system to compare: a run directory, or the output file of another toolkit with a name."""

    path: Path
    name: str | None = None  # None: path is a run directory, whose last part is the name


@dataclass(frozen=True)
class Request:
    """The systems to compare, the test set and the settings."""

    contestants: Sequence[Contestant]
    folder: Path  # where the report is written
    source: str | Path | None = None
    reference: str | Path | Sequence[str | Path] | None = None  # one or more files
    test_set: str | None = None  # name; default: the first test set of the first run
    languages: tuple[str, str] | None = None  # needed only if no run is compared
    sentences: Sequence[int] | None = None  # lines (from 1) to draw attention for; default: short, median, long
    checkpoint: str | None = None
    tag: str | None = None  # for all lines; default: the tags of the test set
    settings: Settings = field(default_factory=Settings)
    significance: Method = "bootstrap"
    heads: bool = False  # measure the heads of Transformers
    gold: str | Path | None = None  # gold links of the test set: with `heads`, name the head that aligns words best


def _check_name(name: str | Path) -> None:
    """Raise UsageError for a name that the report cannot show."""
    try:
        str(name).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{str(name)!r} is not valid UTF-8: give a system as NAME=FILE, or rename it") from error


def compare(request: Request, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the report into request.folder and return the content of results.json."""
    for each in request.contestants:
        _check_name(each.name or each.path)
    _check_name(request.source or "")
    if "bleu" not in request.settings.metrics:
        raise UsageError("--metric: a comparison ranks systems by BLEU: add --metric bleu")
    configs = _look_at_runs(request)
    test_set = _test_set(request, configs, log).tagged(request.tag)
    languages = _languages(request, configs, test_set)
    _check_sentences(request.sentences, test_set)
    gold = _gold(request, configs, test_set)
    files = [
        system_of_file(contestant.name, contestant.path, test_set)
        for contestant in request.contestants
        if contestant.name is not None
    ]
    check_writable(request.folder, folder=True)
    check_folder(request.folder)
    systems = _systems(request, files, test_set, log)
    results = analyse(systems, test_set, languages, log, request.significance, request.settings.metrics)
    results["heads"] = []
    if request.heads:
        named = request.gold or ""
        results["heads"] = heads_of_systems(systems, test_set, gold, named, request.settings.device, log)
    lines = request.sentences
    if lines is None:
        answered = [all(texts) for texts in zip(*(system.hypotheses for system in systems), strict=True)]
        lines = choose_sentences(source_lengths(test_set.sources, languages[0]), answered)
    maps = attention_maps(systems, test_set, lines, log)
    _report_missing(maps, log)
    differences = []
    if len(systems) > 1:
        hypotheses = [(system.name, system.hypotheses) for system in systems]
        differences = largest_differences(hypotheses, test_set, languages[1])
    write_report(Report(results, systems, maps, differences), request.folder)
    return results


def _look_at_runs(request: Request) -> dict[Path, Config]:
    """Return the configuration of each run, after checking the runs, their checkpoints and the device.

    Raises NmtError if a run is missing, and UsageError if a run is named twice.
    """
    from nmt.device import choose_device
    from nmt.runs.run import check_run

    configs: dict[Path, Config] = {}
    places: dict[Path, Path] = {}
    for path in (contestant.path for contestant in request.contestants if contestant.name is None):
        if (before := places.setdefault(path.resolve(), path)) in configs:
            same = f"{path} is" if path == before else f"{before} and {path} are the same run,"
            raise UsageError(f"{same} named twice: name each run once")
        configs[path] = check_run(path, request.checkpoint)
    if configs:
        choose_device(request.settings.device)
    else:
        refuse_run_options(request.settings, request.checkpoint, request.tag, "all systems are output files")
    return configs


def _test_set(request: Request, configs: dict[Path, Config], log: Callable[[str], None]) -> EvaluationSet:
    if request.source is not None and request.reference is not None:
        return set_from_files(request.source, request.reference, request.test_set)
    if not configs:
        raise UsageError("files alone need --source and --reference to be scored against")
    config = next(iter(configs.values()))
    first = next(iter(test_sets(config.data)), None)  # of the others nothing is read
    wanted = request.test_set or first
    return sets_of(config, None if wanted is None else [wanted], log)[0]


def _languages(request: Request, configs: dict[Path, Config], test_set: EvaluationSet) -> tuple[str, str]:
    """Return the source and target language: those of the request, or else those of the first run.

    If all lines have a tag, it tells the target language. Without any run both are empty strings. Raises NmtError if
    the runs translate in different directions.
    """
    directions = {path: (one.data.source_language, one.data.target_language) for path, one in configs.items()}
    if len({tuple(map(language_of, direction)) for direction in directions.values()}) > 1:
        told = ", ".join(f"{path} {source}-{target}" for path, (source, target) in directions.items())
        raise NmtError(f"these runs translate in different directions: {told}")
    if not configs:
        return request.languages or ("", "")
    if request.languages is not None:
        raise UsageError("--languages is for output files alone: here the runs tell the languages, so leave it out")
    data = next(iter(configs.values())).data
    return data.source_language, target_language(data, test_set.tags or [None])


def _check_sentences(sentences: Sequence[int] | None, test_set: EvaluationSet) -> None:
    for line in sentences or ():
        if not 1 <= line <= len(test_set.sources):
            raise UsageError(f"--sentences {line}: {test_set.name} has lines 1 to {len(test_set.sources):,}")


def _gold(request: Request, configs: dict[Path, Config], test_set: EvaluationSet) -> list[Gold] | None:
    """Return the gold links, if there are any. Raises NmtError or UsageError if heads cannot be measured as asked."""
    from nmt.data.alignments import read_gold
    from nmt.evaluation.alignment_error import check_count

    if request.heads and all(config.model.family != "transformer" for config in configs.values()):
        raise UsageError("--heads measures the heads of Transformers, and none of these systems is a run of one")
    if request.gold is None:
        return None
    if not request.heads:
        raise UsageError("--gold scores the heads of Transformers: add --heads")
    gold = read_gold(request.gold)
    check_count(gold, len(test_set.sources), request.gold)
    return gold


def _systems(
    request: Request, files: Sequence[System], test_set: EvaluationSet, log: Callable[[str], None]
) -> list[System]:
    """Return one system per contestant, in the order of the request and with distinct names.

    Each run is loaded and translates the test set here; the systems of output files are given as `files`.
    """
    from nmt.runs.run import load_run

    paths = [contestant.path for contestant in request.contestants if contestant.name is None]
    runs = {path: load_run(path, request.checkpoint) for path in paths}
    names = unique_names([contestant.name or contestant.path.resolve().name for contestant in request.contestants])
    from_files = iter(files)
    systems = []
    for name, contestant in zip(names, request.contestants, strict=True):
        if contestant.name is None:
            systems.append(system_of_run(name, runs[contestant.path], test_set, request.settings, log))
        else:
            systems.append(replace(next(from_files), name=name))
    return systems


def _report_missing(maps: Sequence[SentenceMaps], log: Callable[[str], None]) -> None:
    texts = [
        text for sentence in maps for shown in sentence.maps for text in (*shown.picture.keys, *shown.picture.queries)
    ]
    missing = missing_characters(texts)
    if missing:
        log(f"no installed font has {missing!r}: heatmaps show boxes in their place (install one, such as Noto Sans)")
