"""Storage of evaluations in a run directory: the keys by which they are found again, and the folder of each text.

An evaluation is a folder RUN/evaluations/NAME/ with hypotheses.txt and scores.json. The key of its translations is a
hash of everything that could change them. The folder belongs to one text (source, references and tags) and keeps that
text's last evaluation, whatever the settings were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt import __version__
from nmt.config.load import config_to_dict
from nmt.config.names import plain_name
from nmt.data.corpora import test_sets
from nmt.data.sources.source import Say
from nmt.errors import NmtError
from nmt.evaluation.metrics import tokenizers
from nmt.evaluation.sets import TEXT_DIGESTS, Digests, EvaluationSet, digest, sets_of
from nmt.evaluation.tagged import target_language
from nmt.files import atomic_write
from nmt.reading import read_file, read_object

if TYPE_CHECKING:
    from torch import device as Device

    from nmt.config.schema import SearchConfig
    from nmt.models.seq2seq import Seq2Seq
    from nmt.runs.run import LoadedRun

FOLDER, HYPOTHESES, SCORES = "evaluations", "hypotheses.txt", "scores.json"
# Keys of a run's configuration that are left out of the key, because they cannot change a translation.
CANNOT_MATTER = (
    "run_dir",
    "seed",  # this and the next two only affect training, whose result, the weights, is in the key
    "training",
    "fine_tune",
)
_DIGEST = "record_sha256"
_LIBRARIES = ("torch", "sentencepiece", "sentencex", "langcodes")  # another version of these may change translations


@dataclass(frozen=True)
class Kept:
    """A stored evaluation."""

    folder: Path
    hypotheses: list[str]  # the lines of hypotheses.txt
    record: dict[str, Any]  # the content of scores.json


def translation_key(run: LoadedRun, test_set: EvaluationSet, search: SearchConfig, device: Device) -> str:
    """Return a hash of everything that the translations of a test set depend on.

    `search` holds the run's search settings with all overrides applied.
    """
    from nmt.device import computes_bf16
    from nmt.inference.dictionary import load_dictionary
    from nmt.inference.engines.shortlist import Shortlist

    config = config_to_dict(replace(run.config, search=search))
    parts = {
        "config": {key: value for key, value in config.items() if key not in CANNOT_MATTER},
        "weights": weights_digest(run.model),
        "tokenizer": run.tokenizer.fingerprint,
        "shortlist": Shortlist.load(run.path, run.tokenizer).digest if search.shortlist else None,
        "dictionary": load_dictionary(run.path) if search.replace_unknown == "dictionary" else None,
        "source": test_set.source_digest,
        "tags": test_set.tags,
        "device": device.type,
        "bf16": computes_bf16(device, search.precision),
        "versions": {"nmt": __version__, **{name: version(name) for name in _LIBRARIES}},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def weights_digest(model: Seq2Seq) -> str:
    """Return the SHA-256 digest of a model's parameters, which is the same wherever they are stored."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def scores_key(translations: str, run: LoadedRun, test_set: EvaluationSet) -> str:
    """Return a hash of everything that the scores depend on; `translations` is the key of the translations."""
    tags = test_set.tags or [None]
    data = run.config.data
    languages = {target_language(data, tags), *(target_language(data, [tag]) for tag in tags)}
    parts = {
        "translations": translations,
        "reference": test_set.reference_digest,
        "tokenizers": [tokenizers(language) for language in sorted(languages)],
        "sacrebleu": version("sacrebleu"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_translations(run: LoadedRun, key: str, own: Path) -> Kept | None:
    """Return a stored evaluation whose translations have this key, or None; the folder `own` is tried first."""
    folders = [own, *(path.parent for path in sorted((run.path / FOLDER).glob(f"*/{SCORES}")))]
    found = (read(folder) for folder in folders)
    return next((kept for kept in found if kept is not None and kept.record.get("translation_key") == key), None)


def read(folder: Path) -> Kept | None:
    """Read the evaluation in a folder; return None if there is none or if it is damaged or was edited."""
    record = _record(folder)
    try:
        hypotheses = read_file(folder / HYPOTHESES).decode("utf-8").split("\n")[:-1]
    except (NmtError, ValueError):
        return None
    return Kept(folder, hypotheses, record) if record.get("hypotheses_sha256") == digest(hypotheses) else None


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with a digest of its content, by which a damaged or edited one is recognised."""
    return record | {_DIGEST: _digest_of(record)}


def with_scores(record: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """Return a record with further scores of the same translations, over all lines and for each tag."""
    tags = {tag: record["tags"][tag] | more for tag, more in scores.get("tags", {}).items()}
    return sealed(record | scores | ({"tags": tags} if tags else {}))


def write(kept: Kept) -> None:
    """Write an evaluation, whose record is sealed, to its folder."""
    with atomic_write(kept.folder / HYPOTHESES) as file:
        file.writelines(line + "\n" for line in kept.hypotheses)
    with atomic_write(kept.folder / SCORES) as file:  # written last; its digest of the hypotheses ties the two together
        file.write(json.dumps(kept.record, indent=2, ensure_ascii=False) + "\n")


def folder_of(run: LoadedRun, test_set: EvaluationSet, say: Say) -> Path:
    """Return the folder of a text: NAME, or NAME-DIGEST if the folder NAME belongs to another text.

    It is always in the run: NAME is the name of the text as a plain name, whatever file or tag the text is named after.
    If the run's configuration has a test set called NAME, then the folder NAME belongs to that set; see `make_way`.
    """
    plain = run.path / FOLDER / plain_name(test_set.name)
    own = _with_digest(plain, test_set.digests)
    data = run.config.data
    if test_set.configured == data:
        return plain
    try:
        named = sets_of(run.config, [test_set.name], say) if test_set.name in test_sets(data) else []
    except NmtError:  # the configured files cannot be read on this machine, so there is nothing to compare with
        return _choose(own, test_set.digests)
    if not named:
        return _choose([plain, *own], test_set.digests)
    return plain if named[0].digests == test_set.digests else _choose(own, test_set.digests)


def make_way(folder: Path, test_set: EvaluationSet) -> None:
    """If a folder holds the evaluation of another text, move it to NAME-DIGEST.

    This happens when a configured test set has changed: the new text takes over the folder NAME, and the evaluation of
    the old text is kept under another name.
    """
    there = _text_in(folder)
    if there is None or there == test_set.digests:
        return
    aside = _choose(_with_digest(folder, there), there)
    if _text_in(aside) == there:  # a later evaluation of the old text is already there
        return
    try:
        folder.rename(aside)
    except OSError as error:
        raise NmtError(
            f"{folder} holds the evaluation of another text and could not be moved to {aside}: {error.strerror}"
        ) from error


def _choose(folders: Sequence[Path], text: Digests) -> Path:
    """Return the folder that holds the evaluation of this text, or else the first folder that holds none."""
    texts = [_text_in(folder) for folder in folders]
    return folders[texts.index(text if text in texts else None)]


def _with_digest(plain: Path, text: Digests) -> list[Path]:
    """Return two folders named after a text's digest; the long name is for texts whose short names are equal."""
    digest_of_all = hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()
    return [plain.with_name(f"{plain.name}-{head}") for head in (digest_of_all[:8], digest_of_all)]


def _text_in(folder: Path) -> Digests | None:
    """Return the digests of the text whose evaluation is in a folder, or None if it holds no evaluation."""
    record = _record(folder)
    return {key: record.get(key) for key in TEXT_DIGESTS} if "source_sha256" in record else None


def _record(folder: Path) -> dict[str, Any]:
    """Return the content of scores.json in a folder, or an empty dict if the file is missing, damaged or was edited.

    Records of earlier versions have no digest and are taken as they are.
    """
    try:
        record = read_object(folder / SCORES)
    except NmtError:
        return {}
    return record if record.get(_DIGEST, found := _digest_of(record)) == found else {}


def _digest_of(record: dict[str, Any]) -> str:
    """Return the SHA-256 digest of a record without its own digest."""
    rest = {key: value for key, value in record.items() if key != _DIGEST}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
