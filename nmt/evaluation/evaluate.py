"""Evaluating a run on a test set; translations are kept in the run directory and reused until something changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.config.load import change_search
from nmt.config.schema import SearchConfig
from nmt.data.overlap import Shared, find_store, shared_with, tell_shared
from nmt.errors import NmtError, UsageError
from nmt.evaluation.kept import (
    Kept,
    find_translations,
    folder_of,
    make_way,
    scores_key,
    sealed,
    translation_key,
    with_scores,
    write,
)
from nmt.evaluation.metrics import METRICS, Metric, length_ratio, score
from nmt.evaluation.sets import EvaluationSet, digest
from nmt.evaluation.tagged import rows_by_tag, target_language
from nmt.files import check_writable
from nmt.progress import Progress
from nmt.runs.environment import read_environment

if TYPE_CHECKING:
    from torch import device as Device

    from nmt.config.data import DataConfig
    from nmt.runs.run import LoadedRun

_SHARED = "shared_with_training"  # key in scores.json; null if the run's prepared training text was not found


@dataclass(frozen=True)
class Settings:
    """The search settings, the device and the metrics of an evaluation.

    None keeps the value of the run's configuration.
    """

    beam_size: int | None = None
    length_penalty: float | None = None
    device: str = "auto"
    metrics: Sequence[Metric] = METRICS

    def resolve(self, search: SearchConfig) -> SearchConfig:
        """Return a run's search settings with the given ones replaced. Raises an error for impossible values."""
        given = {"beam_size": self.beam_size, "length_penalty": self.length_penalty}
        return change_search(search, {name: value for name, value in given.items() if value is not None})


def refuse_run_options(settings: Settings, checkpoint: str | int | None, tag: str | None, reason: str) -> None:
    """Raise UsageError for an option of how a run translates, where `reason` says why no run does."""
    given = {
        "--tag": tag,
        "--checkpoint": checkpoint,
        "--beam-size": settings.beam_size,
        "--length-penalty": settings.length_penalty,
        "--device": None if settings.device == "auto" else settings.device,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} changes how a run translates, but {reason}: leave out {option}")


@dataclass(frozen=True)
class Evaluation:
    """The translations of a test set and their record: scores, speed, checkpoint and settings."""

    set_name: str  # the name of the folder
    folder: Path  # RUN/evaluations/NAME
    hypotheses: list[str] = field(repr=False)
    record: dict[str, Any] = field(repr=False)  # the content of scores.json
    reused: bool  # whether the translations were kept from an earlier evaluation
    metrics: Sequence[Metric] = METRICS  # those that were asked for; `record` may have others of earlier evaluations

    @property
    def scores(self) -> dict[str, float]:
        """The unrounded scores by metric; their signatures are in `record`."""
        return {name: self.record[name]["score"] for name in self.metrics}


def evaluate(
    run: LoadedRun, test_set: EvaluationSet, settings: Settings, log: Callable[[str], None] = lambda line: None
) -> Evaluation:
    """Translate and score a test set and keep both in RUN/evaluations/NAME, reusing what is already there.

    Different texts never share a folder (see `folder_of`); for each text the last evaluation is kept. Translations are
    reused as long as nothing that they depend on has changed (see `translation_key`), even if the references have.
    """
    from nmt.device import choose_device

    # look for kept translations and scores
    search, device = settings.resolve(run.config.search), choose_device(settings.device)
    key = translation_key(run, test_set, search, device)
    keys = {"translation_key": key, "scores_key": scores_key(key, run, test_set)}
    folder = folder_of(run, test_set, log)
    kept = find_translations(run, key, folder)
    if kept is not None and kept.folder == folder and kept.record.get("scores_key") == keys["scores_key"]:
        _tell_shared(test_set, kept.record.get(_SHARED), log)
        lacking = [name for name in settings.metrics if name not in kept.record]
        if lacking:
            scores = all_scores(kept.hypotheses, test_set, run.config.data, lacking)
            kept = replace(kept, record=with_scores(kept.record, scores))
            write(kept)
        return Evaluation(folder.name, folder, kept.hypotheses, kept.record, True, settings.metrics)
    shared = _shared(run, test_set)
    _tell_shared(test_set, shared, log)

    # translate, unless only the scores are out of date
    if kept is not None:
        hypotheses, seconds = kept.hypotheses, kept.record["seconds"]
    else:
        check_writable(folder, folder=True)
        count = f"{len(test_set.sources):,} sentences"
        log(f"{run.path}: translating {test_set.name}, {count}, with checkpoint {run.checkpoint.name}")
        hypotheses, seconds = _translate(run, test_set, search, device, log)

    # score and store
    record = sealed(
        {
            **all_scores(hypotheses, test_set, run.config.data, settings.metrics),
            _SHARED: shared,
            "seconds": seconds,
            "sentences_per_second": len(hypotheses) / max(seconds, 1e-9),
            "checkpoint": run.checkpoint.name,
            "device": device.type,
            **asdict(search),
            **keys,
            **test_set.digests,
            "hypotheses_sha256": digest(hypotheses),
        }
    )
    folder = folder_of(run, test_set, log)  # again, because another process may have taken the folder since
    make_way(folder, test_set)
    write(Kept(folder, hypotheses, record))
    return Evaluation(folder.name, folder, hypotheses, record, kept is not None, settings.metrics)


def all_scores(
    hypotheses: Sequence[str], test_set: EvaluationSet, data: DataConfig, metrics: Sequence[Metric] = METRICS
) -> dict[str, Any]:
    """Return the scores over all lines and, under "tags", over the lines of each tag if lines have tags."""
    rows_of = rows_by_tag(test_set.tags or [])
    by_tag = {tag: _scores(hypotheses, test_set, rows, data, metrics) for tag, rows in rows_of.items()}
    of_all = _scores(hypotheses, test_set, range(len(hypotheses)), data, metrics)
    return {**of_all, **({"tags": by_tag} if by_tag else {})}


def _scores(
    hypotheses: Sequence[str],
    test_set: EvaluationSet,
    rows: Sequence[int],
    data: DataConfig,
    metrics: Sequence[Metric],
) -> dict[str, Any]:
    """Return the scores over the lines numbered in `rows`, in the form of scores.json."""
    language = target_language(data, [test_set.tags[row] if test_set.tags else None for row in rows])
    texts = (hypotheses, test_set.references, *test_set.more_references)
    chosen, references, *more = ([lines[row] for row in rows] for lines in texts)
    scores = score(chosen, references, metrics, language, more_references=more)
    return {
        **{metric: value.to_dict() for metric, value in scores.items()},
        "length_ratio": length_ratio(chosen, references, language, more),
        "sentences": len(rows),
    }


def _shared(run: LoadedRun, test_set: EvaluationSet) -> Shared | None:
    """Count the lines of a test set that are in the run's training text; None if that text is not in data.cache."""
    try:
        train = find_store(Path(run.config.data.cache), read_environment(run.path)["data"]["train"])
    except (NmtError, KeyError):
        return None
    if train is None:
        return None
    pairs = list(zip(test_set.sources, test_set.references, strict=True))
    return shared_with(train, {test_set.name: pairs})[test_set.name]


def _tell_shared(test_set: EvaluationSet, shared: Shared | None, log: Callable[[str], None]) -> None:
    """Warn if many lines of a test set are in the training text."""
    if shared is not None:
        tell_shared(f"data.test.{test_set.name}" if test_set.configured else test_set.name, shared, log)


def _translate(
    run: LoadedRun, test_set: EvaluationSet, search: SearchConfig, device: Device, log: Callable[[str], None]
) -> tuple[list[str], float]:
    """Translate a test set; return the translations and the seconds they took, without the time to load the model."""
    from nmt.inference.dictionary import load_dictionary
    from nmt.inference.engines.native import NativeEngine
    from nmt.inference.engines.shortlist import Shortlist
    from nmt.inference.translator import Translator
    from nmt.runs.run import read_run_config

    data = read_run_config(run.path, tells=True).data
    engine = NativeEngine.on(run.model, device, lambda: Shortlist.load(run.path, run.tokenizer))
    translator = Translator(
        engine,
        run.tokenizer,
        search,
        data.cleaning.max_tokens,
        log,
        data.source_language,
        data.always_tagged,
        load_dictionary=partial(load_dictionary, run.path),
    )
    progress = Progress("sentences", log, len(test_set.sources), every=15.0)
    progress.reach(0)
    start = time.perf_counter()
    translations = translator.nbest(
        test_set.sources, tags=test_set.tags, progress=lambda more: progress.reach(progress.done + more)
    )
    return [translation.text for translation in translations], time.perf_counter() - start
