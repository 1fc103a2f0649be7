"""results.json of a study: a row for each finished run. A run counts as finished only if it has a row.

Each row has the configuration and the digests of the data that the run was trained and scored with. Rows of another
configuration or of other data are never mixed with new ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.config.load import config_from_dict, config_to_flat
from nmt.config.schema import Config
from nmt.data.corpora import resolve
from nmt.data.digests import Digests
from nmt.data.given_tokenizer import given_tokenizer
from nmt.data.sources import source_of
from nmt.errors import ConfigError, NmtError, unreadable
from nmt.evaluation.evaluate import all_scores
from nmt.evaluation.metrics import Metric
from nmt.evaluation.sets import EvaluationSet
from nmt.files import atomic_write
from nmt.reading import read_object, reading
from nmt.runs.run import run_fingerprint

RESULTS, SPEEDS = "results.json", "speeds.json"
Row = dict[str, Any]
_SCORED_ON = ("data.test.", "gold.")  # digests of what a run is scored on; a row of an earlier nmt may lack others
_PLACES = ("run_dir", "data.cache", "training.workers", "data.workers")  # keys that cannot change a result


class Rows:
    """The rows of a file of results, by name.

    Keys of the configuration whose names begin with one of `unimportant` may differ.
    """

    def __init__(self, path: Path, unimportant: tuple[str, ...] = ()) -> None:
        self.path = path
        self.unimportant = unimportant
        self._rows: dict[str, Row] = read_object(path) if path.is_file() else {}
        with reading(path):
            for row in self._rows.values():
                _ = row["config"].items(), row["data"].items()

    def get(self, name: str, now: Mapping[str, Any], data: Mapping[str, str]) -> Row | None:
        """Return the row of this name, or None if there is none, or none that was scored on all of the data.

        `now` is the configuration, as `known_by` returns it. Raises NmtError, naming what differs, if it is the row of
        another configuration or of other data.
        """
        row = self._rows.get(name)
        if row is None:
            return None
        before = _with_new_keys(row["config"])
        changed = [
            f"{key}={_shown(before.get(key))}, now {_shown(now.get(key))}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key) and not key.startswith(self.unimportant)
        ]
        changed += [f"the content of {key}" for key in data if row["data"].get(key, data[key]) != data[key]]
        if changed:
            raise NmtError(
                f"{self.path} has {name} with other conditions ({'; '.join(changed)}), and results are not mixed: "
                "choose another folder with -o, or undo the change"
            )
        scored_on = {key for key in data if key.startswith(_SCORED_ON)}
        return row if scored_on <= row["data"].keys() else None

    def known(self, name: str, config: Config) -> dict[str, Any]:
        """Return the configuration of the row of this name as it is stored; without a row, what `known_by` returns."""
        row = self._rows.get(name)
        return known_by(config) if row is None else row["config"]

    def add(self, name: str, config: Mapping[str, Any], data: Mapping[str, str], figures: Mapping[str, Any]) -> Row:
        """Add a row and write the file at once, by names; `config` is what `known_by` returns."""
        row = {"config": dict(config), "data": dict(data), **figures}
        self._rows[name] = row
        with atomic_write(self.path) as file:
            json.dump(dict(sorted(self._rows.items())), file, ensure_ascii=False, indent=1)
        return row


def with_metrics(row: Row, metrics: Sequence[Metric], test_sets: Sequence[EvaluationSet], config: Config) -> Row:
    """Return a row with these metrics; those that it lacks are computed from its translations."""
    tests: dict[str, Mapping[str, Any]] = {}
    for test_set in test_sets:
        test = row["test"][test_set.name]
        lacking = [metric for metric in metrics if metric not in test]
        scores = all_scores(test["hypotheses"], test_set, config.data, lacking) if lacking else {}
        tests[test_set.name] = test | {metric: scores[metric] for metric in lacking}
    return row | {"test": row["test"] | tests}


def known_by(config: Config) -> dict[str, Any]:
    """Return the value of every key that can change a result, as it is read back from JSON."""
    flat = {key: value for key, value in config_to_flat(config).items() if key not in _PLACES}
    read: dict[str, Any] = json.loads(json.dumps(flat))
    return read


def _with_new_keys(known: dict[str, Any]) -> dict[str, Any]:
    """Return what `known_by` returned in an earlier version of nmt, with the defaults of keys that are new since."""
    if "members" in known:  # the conditions of an ensemble
        return known
    nested: dict[str, Any] = {}
    for key, value in known.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        return known_by(config_from_dict(nested))
    except ConfigError:  # a key is gone
        return known


def digests_of(config: Config, test_sets: list[EvaluationSet], gold: Mapping[str, str]) -> dict[str, str]:
    """Return a digest of everything outside the configuration that a run is trained or scored with, by its key."""
    corpora, files = resolve(config.data), Digests(Path(config.data.cache))
    languages = config.data.source_language, config.data.target_language
    found = {}
    if config.tokenizer.path is not None:
        _, tokenizer = given_tokenizer(config)
        assert tokenizer is not None, "its path is given"
        found["tokenizer.path"] = tokenizer.fingerprint
    if config.fine_tune.run is not None:
        found["fine_tune.run"] = run_fingerprint(config.fine_tune.run, config.fine_tune.checkpoint)
    for key, texts in (("data.train", corpora.train), ("data.val", corpora.val)):
        found[key] = " ".join(source_of(corpus, *languages).digest(files) for corpus in texts)
    for test_set in test_sets:
        found[f"data.test.{test_set.name}"] = " ".join(filter(None, test_set.digests.values()))
    links = {f"gold.{name}": path for name, path in gold.items()}
    links |= {
        f"data.train[{number}].alignments": corpus.alignments
        for number, corpus in enumerate(corpora.train)
        if corpus.alignments is not None
    }
    for key, path in links.items():
        try:
            with Path(path).open("rb") as file:
                found[key] = files(Path(path), file).hex()
        except OSError as error:
            raise unreadable(path, error) from error
    return found


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
