"""The evaluation of a run on a test set: translated once, kept in the run, used again while nothing has changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.data.corpora import test_sets
from nmt.data.overlap import Shared, find_store, shared_with, tell_shared
from nmt.errors import NmtError
from nmt.evaluation.metrics import METRICS, length_ratio, score
from nmt.evaluation.sets import EvaluationSet, digest, sets_of
from nmt.evaluation.tagged import rows_by_tag, target_language
from nmt.files import atomic_write

if TYPE_CHECKING:
    from nmt.config.data import DataConfig
    from nmt.models.seq2seq import Seq2Seq
    from nmt.run import LoadedRun

HYPOTHESES, SCORES = "hypotheses.txt", "scores.json"
_SHARED = "shared_with_training"  # in scores.json; null where the run's prepared training text is not at hand


@dataclass(frozen=True)
class Settings:
    """How to translate; None: as the run's configuration has it."""

    beam_size: int | None = None
    length_penalty: float | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Evaluation:
    """Translations of a test set, and what scores.json says of them: scores, speed, checkpoint, settings."""

    set_name: str
    folder: Path
    hypotheses: list[str]
    record: dict[str, Any]
    reused: bool


def evaluate(
    run: LoadedRun, test_set: EvaluationSet, settings: Settings, log: Callable[[str], None] = lambda line: None
) -> Evaluation:
    """Translate and score a test set and keep both in RUN/evaluations/NAME; what is already there is used again.

    Kept translations count while weights, search settings and source are the same; they are scored anew if the
    reference has changed.
    """
    name = _folder_name(run, test_set)
    folder = run.path / "evaluations" / name
    wanted = _identity(run, test_set, settings)
    kept = _read(folder, wanted)
    if kept is not None and kept.record["reference_sha256"] == test_set.reference_digest:
        _tell_shared(test_set, kept.record.get(_SHARED), log)
        return kept
    shared = _shared(run, test_set)
    _tell_shared(test_set, shared, log)
    if kept is not None:
        hypotheses, seconds = kept.hypotheses, kept.record["seconds"]
    else:
        count = f"{len(test_set.sources):,} sentences"
        log(f"{run.path}: translating {name}, {count}, with checkpoint {run.checkpoint.name}")
        hypotheses, seconds = _translate(run, test_set, settings, log)
    data = run.config.data
    rows_of = rows_by_tag(test_set.tags or [])
    by_tag = {tag: _scores(hypotheses, test_set, rows, data) for tag, rows in rows_of.items()}
    record = {
        **_scores(hypotheses, test_set, range(len(hypotheses)), data),
        **({"tags": by_tag} if by_tag else {}),
        _SHARED: shared,
        "seconds": seconds,
        "sentences_per_second": len(hypotheses) / max(seconds, 1e-9),
        "checkpoint": run.checkpoint.name,
        **wanted,
        "reference_sha256": test_set.reference_digest,
        "hypotheses_sha256": digest(hypotheses),
    }
    with atomic_write(folder / HYPOTHESES) as file:
        file.writelines(line + "\n" for line in hypotheses)
    with atomic_write(folder / SCORES) as file:  # last: its digest of the hypotheses says that both belong together
        file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return Evaluation(name, folder, hypotheses, record, reused=kept is not None)


def _scores(
    hypotheses: Sequence[str], test_set: EvaluationSet, rows: Sequence[int], data: DataConfig
) -> dict[str, Any]:
    """The scores of some lines, as scores.json has them."""
    language = target_language(data, [test_set.tags[row] if test_set.tags else None for row in rows])
    chosen, references = ([lines[row] for row in rows] for lines in (hypotheses, test_set.references))
    scores = score(chosen, references, METRICS, language)
    return {
        **{metric: value.to_dict() for metric, value in scores.items()},
        "length_ratio": length_ratio(chosen, references, language),
        "sentences": len(rows),
    }


def _shared(run: LoadedRun, test_set: EvaluationSet) -> Shared | None:
    """What a test set shares with the text that a run was trained on; None where that is not in data.cache."""
    try:
        environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        train = find_store(Path(run.config.data.cache), environment["data"]["train"])
    except (OSError, ValueError, KeyError):
        return None
    if train is None:
        return None
    pairs = list(zip(test_set.sources, test_set.references, strict=True))
    return shared_with(train, {test_set.name: pairs})[test_set.name]


def _tell_shared(test_set: EvaluationSet, shared: Shared | None, log: Callable[[str], None]) -> None:
    if shared is not None:
        tell_shared(f"data.test.{test_set.name}" if test_set.configured else test_set.name, shared, log)


def weights_digest(model: Seq2Seq) -> str:
    """SHA-256 of a model's parameters: the same for the same weights, wherever they lie."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def _identity(run: LoadedRun, test_set: EvaluationSet, settings: Settings) -> dict[str, Any]:
    """Everything that the translations depend on."""
    from nmt.engines.shortlist import Shortlist

    search = run.config.search
    return {
        "weights_sha256": weights_digest(run.model),
        "source_sha256": test_set.source_digest,
        "tags_sha256": None if test_set.tags is None else digest([tag or "" for tag in test_set.tags]),
        "beam_size": search.beam_size if settings.beam_size is None else settings.beam_size,
        "length_penalty": search.length_penalty if settings.length_penalty is None else settings.length_penalty,
        "length_normalisation": search.length_normalisation,
        "coverage_penalty": search.coverage_penalty,
        "stop": search.stop,
        "min_length_ratio": search.min_length_ratio,
        "max_length_ratio": search.max_length_ratio,
        "max_length_offset": search.max_length_offset,
        "precision": search.precision,
        "shortlist": Shortlist.load(run.path, run.tokenizer).digest if search.shortlist else None,
    }


def _read(folder: Path, wanted: dict[str, Any]) -> Evaluation | None:
    """What is kept in `folder` if it is what is wanted, else None."""
    try:
        record = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        hypotheses = (folder / HYPOTHESES).read_bytes().decode("utf-8").split("\n")[:-1]
    except (OSError, ValueError):
        return None
    same = all(record.get(key) == value for key, value in wanted.items())
    if not same or record.get("hypotheses_sha256") != digest(hypotheses):
        return None
    return Evaluation(folder.name, folder, hypotheses, record, reused=True)


def _folder_name(run: LoadedRun, test_set: EvaluationSet) -> str:
    """The set's name; with the head of its digest where the run's configuration gives that name to another text, or to
    the same with other tags.
    """
    if test_set.configured:
        return test_set.name
    try:
        same_name = sets_of(run.config, [test_set.name]) if test_set.name in test_sets(run.config.data) else []
    except NmtError:  # the configured text is not here, so this may not take its place
        return f"{test_set.name}-{test_set.source_digest[:8]}"
    if any((other.source_digest, other.tags) != (test_set.source_digest, test_set.tags) for other in same_name):
        return f"{test_set.name}-{test_set.source_digest[:8]}"
    return test_set.name


def _translate(
    run: LoadedRun, test_set: EvaluationSet, settings: Settings, log: Callable[[str], None]
) -> tuple[list[str], float]:
    """Translations and the seconds they took, loading not counted."""
    from nmt.device import choose_device
    from nmt.engines.draft import Draft
    from nmt.engines.native import NativeEngine
    from nmt.engines.shortlist import Shortlist
    from nmt.translate import Translator

    device, data = choose_device(settings.device), run.config.data
    engine = NativeEngine.alone(
        run.model,
        device,
        lambda: Shortlist.load(run.path, run.tokenizer),
        lambda: Draft.load(run.path, run.tokenizer),
    )
    translator = Translator(
        engine,
        run.tokenizer,
        run.config.search,
        data.cleaning.max_tokens,
        log,
        data.source_language,
        data.always_tagged,
    )
    progress = _Progress(len(test_set.sources), log)
    translations = translator.translate_nbest(
        test_set.sources,
        beam_size=settings.beam_size,
        length_penalty=settings.length_penalty,
        tags=test_set.tags,
        progress=progress.add,
    )
    return [translation.text for translation in translations], progress.seconds


class _Progress:
    """Tells how far a translation is, every so many seconds."""

    EVERY = 15.0

    def __init__(self, total: int, log: Callable[[str], None]) -> None:
        self.total = total
        self.log = log
        self.done = 0
        self.start = self.told = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def add(self, sentences: int) -> None:
        """So many more are done."""
        self.done += sentences
        if time.perf_counter() - self.told >= self.EVERY and self.done:
            self.told = time.perf_counter()
            rate = self.done / self.seconds
            left = max(self.total - self.done, 0) / rate
            self.log(f"{self.done:,} of {self.total:,} sentences, {rate:.1f} sentences/s, {left:.0f} s left")
