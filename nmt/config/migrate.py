"""Read configurations that earlier versions of nmt wrote.

The first line of a run's config.yaml says which version of the schema it follows: `schema: 3`. A file of version 1 has
no such line; it differs from a configuration that a user wrote in that every section and key is filled in. For each
version, one function converts the content of such a file to what the next version would have written, so that old runs
can still translate and be continued. Files are not changed here: nmt-train writes a new config.yaml when it continues a
run.

A file that nmt wrote has every key of its version and ends with a line break, so any cut shows: each beginning of such
a file lacks one or the other. No mark of its own is needed, and files that were written before this check have both.

If a version renames weights, there is also a table of the names. A file of weights says which version it follows.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf

from nmt.config.models import MODEL_FAMILIES
from nmt.config.plain import parse, read_text, refuse_interpolations, resolve
from nmt.config.schema import Config, SearchConfig
from nmt.config.typed import from_dict
from nmt.errors import ConfigError
from nmt.messages import tell

SCHEMA = 3  # the version written now; raise it, and extend _STEPS, when the meaning of older files changes
# For each version, the keys whose default the next version changed, or which it added with another behaviour.
_DIFFERING: dict[int, tuple[str, ...]] = {
    1: ("search.length_normalisation", "search.length_penalty", "search.stop", "training.validation_beam_size")
}
# For each version, the keys that came after its first files: files of this version, or an earlier one, may lack them. A
# new key with a default is named under today's version. A `*` stands for anything, as in data.*.weight.
_ADDED: dict[int, tuple[str, ...]] = {
    2: ("model.alignment", "model.doubly_stochastic", "model.positions", "model.encoder_self", "model.decoder_self",
        "model.decoder_cross"),
    3: ("model.bidirectional_layers", "model.dropout_mask", "model.layer_norm", "model.normalisation",
        "model.normaliser", "model.residual",
        "search.replace_unknown", "data.*.alignments", "training.guided_attention",
        "training.guided_attention.decay_steps", "model.heads.removed", "training.optimizer.momentum"),
}  # fmt: skip
# Options of mechanisms may be missing, too: a file that lacks them is older than the mechanism, and does not use it.
_OPTIONS = {
    f"model.{name}"
    for family in MODEL_FAMILIES.values()
    for name, hint in get_type_hints(family).items()
    if is_dataclass(hint)
}
# A file with all these keys and no `schema` was written by nmt (a run's, or printed by --cfg job), not by hand.
_SECTIONS = ("model", "data", "tokenizer", "training", "search", "seed", "run_dir")
_SEARCH = ("beam_size", "length_penalty", "max_length_ratio", "max_length_offset", "tokens_per_batch", "precision")
_NAMED = 10  # keys, at most, that a message names

_told: set[Path] = set()  # files of earlier versions that the user has been told about


class Change(NamedTuple):
    """The value of a key in a file of an earlier version, and its value after conversion to the current version."""

    before: Any
    now: Any


class ConfigFile(NamedTuple):
    """The content of a configuration file, converted to the current version of the schema."""

    node: DictConfig  # without `schema`; interpolations not yet resolved
    of_run: bool  # whether nmt wrote it, or should have
    version: int  # the schema version of the file itself
    changes: dict[str, Change]  # the keys whose values were changed, by full name


def is_in_run(path: Path) -> bool:
    """Return whether a configuration file is the config.yaml of the run that is in its folder."""
    return path.name == "config.yaml" and (path.parent / "checkpoints").is_dir()


def read_config_file(path: Path, of_run: bool) -> ConfigFile:
    """Read a YAML file of any schema version and convert it to the current version.

    A file is read as one that nmt wrote if `of_run` is set or if it says `schema`: it must be complete, and must not
    have interpolations. Raises ConfigError if it is not, if it is not YAML, or if its version does not exist or is
    newer than this nmt.
    """
    if of_run and path.exists() and not path.is_file():  # a pipe would keep its reader waiting for ever
        raise ConfigError(f"{path} is damaged: it is not a file")
    text = read_text(path)
    values = cast(dict[str, Any], OmegaConf.to_container(parse(text, path)))
    of_run = of_run or "schema" in values
    if of_run:
        refuse_interpolations(values, path)
    lacking = _missing_of_1(values)
    version = take_version(values, path) or (1 if of_run or not lacking else SCHEMA)
    if of_run and version == 1:
        _refuse_missing(lacking, path)
    changes: dict[str, Change] = {}
    for step in range(version, SCHEMA):
        changes |= _STEPS[step](values)
    if of_run:
        _check_complete(values, version, path)
        if not text.endswith("\n"):
            raise ConfigError(
                f"{path} ends within a line, as a file that was cut: restore it, or end its last line with a line "
                "break if it is whole"
            )
    return ConfigFile(OmegaConf.create(values), of_run, version, changes)


def _check_complete(values: dict[str, Any], version: int, path: Path) -> None:
    """Raise ConfigError if a file of `version`, whose converted content is `values`, lacks keys that nmt wrote."""
    try:
        whole = asdict(from_dict(Config, resolve(OmegaConf.create(values))))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if version > 1:  # the keys of the earliest runs, which are of version 1, are not recorded
        added = [pattern for later in range(version, SCHEMA + 1) for pattern in _ADDED.get(later, ())]
        missing = _missing(whole, values)
        needed = [key for key in missing if key not in _OPTIONS]
        _refuse_missing([key for key in needed if not any(fnmatchcase(key, pattern) for pattern in added)], path)


def _refuse_missing(missing: list[str], path: Path) -> None:
    """Raise ConfigError if anything is missing in a file that nmt wrote."""
    more = f" and {len(missing) - _NAMED} more keys" if len(missing) > _NAMED else ""
    if missing:
        raise ConfigError(
            f"{path} lacks {', '.join(missing[:_NAMED])}{more}: restore the file, or add what is missing, with its "
            "default from docs/configuration.md (a configuration of your own has no line `schema`, and may lack keys)"
        )


def _missing(whole: Any, values: Any, key: str = "") -> Iterator[str]:
    """Yield the full names of the keys in `whole` that `values` does not have; both are nested dicts and lists."""
    if isinstance(whole, dict):
        for name, item in whole.items():
            full = f"{key}.{name}" if key else name
            if name in values:
                yield from _missing(item, values[name], full)
            else:
                yield full
    elif isinstance(whole, list):
        for index, (item, value) in enumerate(zip(whole, values, strict=True)):
            yield from _missing(item, value, f"{key}[{index}]")


def differing(version: int) -> list[str]:
    """Return the keys whose defaults differ between `version` of the schema and the current version."""
    return [key for step in range(version, SCHEMA) for key in _DIFFERING.get(step, ())]


def tell_changes(path: Path, changes: Mapping[str, Change]) -> None:
    """Print on stderr, once per file, which search settings were converted from a file's old defaults to today's.

    `changes` are those of its ConfigFile. If several processes work together, only the first one prints.
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
    """Remove the key `schema` from the content of a file and return its value, or None if there is none.

    Raises ConfigError for a version that does not exist or is newer than this nmt.
    """
    if "schema" not in values:
        return None
    version = values.pop("schema")
    if not isinstance(version, int) or version <= 1:  # files of version 1 do not have the key; true counts as 1
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


def _missing_of_1(values: Mapping[str, Any]) -> list[str]:
    """Return what a file lacks that all files of version 1 have."""
    mappings = [name for name in ("training", "search") if not isinstance(values.get(name), dict)]
    sections = [name for name in _SECTIONS if name not in values or name in mappings]
    return sections or [f"search.{name}" for name in _SEARCH if name not in values["search"]]


def _from_1(values: dict[str, Any]) -> dict[str, Change]:
    """Convert version 1: replace its default search settings by today's, and keep the beam size of its validations.

    In version 1, validations used search.beam_size. The earliest files lack some search keys, for which the defaults of
    version 1 are assumed. Values that were not defaults were chosen by the user and are kept.
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
    """Convert version 2: rename the parts in fine_tune.freeze.

    The keys that are new in version 3 have defaults that leave models as they were.
    """
    fine_tune = values.get("fine_tune")
    if isinstance(fine_tune, dict) and isinstance(parts := fine_tune.get("freeze"), list):
        fine_tune["freeze"] = [present_name(f"{part}.", 2).rstrip(".") for part in parts]
    return {}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Change]]] = {1: _from_1, 2: _from_2}

# For each version, patterns of the names of weights that the next version renamed, with their replacements.
_WEIGHTS: dict[int, dict[str, str]] = {
    2: {
        r"^((?:encoder|decoder)\.layers\.\d+)\.self_attention\.": r"\1.mixer.",
        r"^((?:encoder|decoder)\.layers\.\d+)\.(?:attention|self)_residual\.": r"\1.mixer_residual.",
    },
}


def present_name(weight: str, version: int) -> str:
    """Return today's name of a weight in a file that follows `version` of the schema."""
    for step in range(version, SCHEMA):
        for before, now in _WEIGHTS.get(step, {}).items():
            weight = re.sub(before, now, weight)
    return weight
