"""Read configurations that earlier versions of nmt wrote.

The first line of a run's config.yaml says which version of the schema it follows: `schema: 3`. A file of version 1 has
no such line; it differs from a configuration that a user wrote in that every section and key is filled in. For each
version, one function turns what such a file holds into what the next version would have written, so that old runs can
be translated with and trained further. Nothing is written here: nmt-train writes the file anew when it continues a run.

A version that renames weights has a table of their names, too; a file of weights says which version it follows.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf

from nmt.config.plain import read_yaml
from nmt.config.schema import SearchConfig
from nmt.errors import ConfigError
from nmt.messages import tell

SCHEMA = 3  # what is written now; raise it when files written before would mean something else, and add to _STEPS
# For each version, keys that the next one has another default for, or that it lacked and decided otherwise.
_DIFFERING: dict[int, tuple[str, ...]] = {
    1: ("search.length_normalisation", "search.length_penalty", "search.stop", "training.validation_beam_size")
}
# A file with all of these and no `schema` is a run's, or what --cfg job printed: nobody writes all of them by hand.
_SECTIONS = {"model", "data", "tokenizer", "training", "search", "seed", "run_dir"}
_SEARCH = {"beam_size", "length_penalty", "max_length_ratio", "max_length_offset", "tokens_per_batch", "precision"}

_told: set[Path] = set()  # files of which the user knows that they are of an earlier version


class Change(NamedTuple):
    """The value that a key had in a file, and the one it has now."""

    before: Any
    now: Any


class ConfigFile(NamedTuple):
    """The content of a configuration file, brought to the present version of the schema."""

    node: DictConfig  # without `schema`; interpolations not yet resolved
    version: int  # of the schema that the file follows
    changes: dict[str, Change]  # by their full names, the keys that were given another value


def read_config_file(path: Path) -> ConfigFile:
    """Read a YAML file of whatever version.

    Raises ConfigError for what is not YAML, and for a version that does not exist or is newer than this nmt.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(read_yaml(path)))
    version = take_version(values, path) or (1 if _is_resolved(values) else SCHEMA)
    changes: dict[str, Change] = {}
    for step in range(version, SCHEMA):
        changes |= _STEPS[step](values)
    return ConfigFile(OmegaConf.create(values), version, changes)


def differing(version: int) -> list[str]:
    """Return the keys that `version` of the schema decides otherwise than the present one."""
    return [key for step in range(version, SCHEMA) for key in _DIFFERING.get(step, ())]


def tell_changes(path: Path, changes: Mapping[str, Change]) -> None:
    """Say on stderr which default rules of search have changed since a file was written, once for each file.

    Of several processes that work together, the first one says it.
    """
    rules = {key.removeprefix("search."): change for key, change in changes.items() if key.startswith("search.")}
    first = multiprocessing.parent_process() is None and os.environ.get("RANK", "0") == "0"
    if not rules or not first or path.resolve() in _told:
        return
    _told.add(path.resolve())
    now, before = (
        ", ".join(f"search.{key}={getattr(change, when)}" for key, change in rules.items())
        for when in Change._fields[::-1]
    )
    run = path.parent if path.name == "config.yaml" else path
    tell(f"{run} is from a time when search had other default rules. Today's are {now}; the earlier ones were {before}")


def take_version(values: dict[str, Any], path: Path) -> int | None:
    """Take `schema` out of what a file holds and return it; None where there is none.

    Raises ConfigError for a version that does not exist or is newer than this nmt.
    """
    if "schema" not in values:
        return None
    version = values.pop("schema")
    if not isinstance(version, int) or version <= 1:  # which no file says of itself; true is 1
        raise ConfigError(
            f"{path}: schema={version} is no version that nmt has written: leave the line out in a configuration of "
            "your own"
        )
    if version > SCHEMA:
        raise ConfigError(
            f"{path} was written by a newer nmt (schema {version}; this one knows versions up to {SCHEMA}): use that "
            "version of nmt"
        )
    return version


def _is_resolved(values: Mapping[str, Any]) -> bool:
    """Return whether a file has all keys filled in, as nmt-train writes them."""
    search, training = values.get("search"), values.get("training")
    whole = isinstance(search, dict) and isinstance(training, dict) and search.keys() >= _SEARCH
    return whole and values.keys() >= _SECTIONS


def _from_1(values: dict[str, Any]) -> dict[str, Change]:
    """Give search its shared rules where it had the defaults, and validations the beam that they had.

    The first runs lack the keys that came later; they were searched as by the defaults of version 1.
    """
    search, training = values["search"], values["training"]
    for gone in ("draft", "cuda_graphs"):
        search.pop(gone, None)
    training.setdefault("validation_beam_size", search["beam_size"])
    rules = {"length_normalisation": "gnmt", "length_penalty": 1.0, "stop": "exact"}  # the defaults of version 1
    before = {key: search.get(key, default) for key, default in rules.items()}
    shared, now = SearchConfig(), dict(before)
    if before["length_normalisation"] == "gnmt" and before["length_penalty"] == 1.0:
        now |= {key: getattr(shared, key) for key in ("length_normalisation", "length_penalty")}
    if before["stop"] == "exact":
        now["stop"] = shared.stop
    search.update(now)
    return {f"search.{key}": Change(before[key], now[key]) for key in rules if before[key] != now[key]}


def _from_2(values: dict[str, Any]) -> dict[str, Change]:
    """Give parts to freeze their present names; new keys have defaults by which models are what they were."""
    fine_tune = values.get("fine_tune") or {}
    if fine_tune.get("freeze"):
        fine_tune["freeze"] = [present_name(f"{part}.", 2).rstrip(".") for part in fine_tune["freeze"]]
    return {}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Change]]] = {1: _from_1, 2: _from_2}

# For each version, patterns of names of weights that the next version has others for.
_WEIGHTS: dict[int, dict[str, str]] = {
    2: {
        r"^((?:encoder|decoder)\.layers\.\d+)\.self_attention\.": r"\1.mixer.",
        r"^((?:encoder|decoder)\.layers\.\d+)\.(?:attention|self)_residual\.": r"\1.mixer_residual.",
    },
}


def present_name(weight: str, version: int) -> str:
    """Return the name that a weight, of a file that follows `version` of the schema, has now."""
    for step in range(version, SCHEMA):
        for before, now in _WEIGHTS.get(step, {}).items():
            weight = re.sub(before, now, weight)
    return weight
