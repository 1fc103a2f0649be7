"""Compose YAML files, presets, groups and overrides into one plain dict, with hydra's compose API."""

from __future__ import annotations

import dataclasses
import itertools
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf

from nmt.config.migrate import is_in_run, read_config_file, take_version, tell_changes
from nmt.config.plain import first_line, one_sentence, resolve
from nmt.config.schema import Config
from nmt.config.typed import defaults, suggestion
from nmt.errors import ConfigError, UsageError
from nmt.resources import presets

_NODE = "__nmt__"  # the name under which hydra finds the configuration being composed
_ONE_AT_A_TIME = threading.Lock()  # hydra's state is global, so threads take turns
# Keys that keep the file's value when an override chooses another preset of their group: limits and hardware.
_STAYS = {"training": ("max_steps", "max_epochs", "max_minutes", "device", "threads", "workers")}
_DEFAULTS = "defaults should be a list of presets and of choices such as model: luong"
_SECTIONS = {field.name for field in dataclasses.fields(Config)} - {"seed", "run_dir"}


class Job(NamedTuple):
    """One run of a sweep."""

    overrides: list[str]  # all overrides of the run, each with one value
    chosen: list[str]  # the overrides that differ between the jobs


def locate(config: str) -> Path:
    """Return the file that CONFIG names: the file of that path, or the preset of that name. Raises ConfigError."""
    path, known = Path(config), _names(presets())
    if "/" in config or "\\" in config or path.suffix in (".yaml", ".yml"):
        if path.is_dir():
            raise ConfigError(_of_folder(path))
        if not path.is_file():
            preset = f"; the preset is called {path.stem}" if path.stem in known else ""
            raise ConfigError(f"there is no file {path}{preset}")
        return path
    if config not in known:
        if path.is_dir():
            raise ConfigError(_of_folder(path))
        for file in (f"{config}.yaml", f"{config}.yml", f"./{config}"):
            if Path(file).is_file():
                raise ConfigError(f"there is no preset {config}; the file of that name is {file}")
        raise ConfigError(_no_such(f"there is no preset {config}", config, known))
    return presets() / f"{config}.yaml"


def _of_folder(path: Path) -> str:
    return f"{path} is a folder: give the YAML file itself, such as {path / 'config.yaml'}"


def compose(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the configuration in the file at `path` with overrides.

    First come the file's defaults list and its keys, then overrides that replace a group (model=rnnsearch), then
    overrides of single values (seed=2). A file that nmt wrote stands alone: it is not completed by files beside it.
    """
    source = read_config_file(path, is_in_run(path))
    folder = presets() if source.of_run else path.parent
    tell_changes(path, source.changes)
    node = source.node
    if "hydra" in node:
        raise ConfigError(f"{path}: hydra is not a key of the configuration")
    if not isinstance(entries := node.get("defaults", OmegaConf.create(["_self_"])), ListConfig):
        raise ConfigError(f"{path}: {_DEFAULTS}")
    if not all(isinstance(entry, str | DictConfig) for entry in entries):
        raise ConfigError(f"{path}: {_DEFAULTS}")
    groups: dict[str, str] = {}
    single: list[Override] = []
    for override in map(parse_override, overrides):
        if override.key_or_group in _SECTIONS and isinstance(override.value(), str):
            groups[override.key_or_group] = _option(folder, override)
        else:
            single.append(override)
    if groups:
        # Compose the file without these groups first, to drop also what presets in its defaults list set in them.
        node.defaults = [entry for entry in entries if not _chooses(entry, groups)]
        base = _hydra(folder, node, [])
        OmegaConf.set_struct(base, False)
        for group in groups:
            stays = [key for key in _STAYS.get(group, ()) if key in (base.get(group) or {})]
            kept = OmegaConf.masked_copy(base[group], stays) if stays else None  # without resolving interpolations
            base.pop(group, None)
            if kept is not None:
                base[group] = kept
        node = _merge({"defaults": [*({group: name} for group, name in groups.items()), "_self_"]}, base)
    values: list[str] = []
    for override in single:
        if isinstance(override.value(), dict | list):
            values += _deletion(override, _hydra(folder, node, values))
        values.append(_forced(override))
    composed = resolve(_hydra(folder, node, values), defaults(Config))
    take_version(composed, path)  # remove the version if a file in the defaults list has one
    return composed


def expand(overrides: Sequence[str]) -> list[Job]:
    """Return the jobs of a sweep: all combinations of the overrides' values, with the last override varying fastest."""
    choices = []
    for text, override in ((text, parse_override(text)) for text in overrides):
        if override.value_type in (ValueType.INTERVAL_SWEEP, ValueType.GLOB_CHOICE_SWEEP):
            raise UsageError(f"the override {text} names no values to try one by one: use a,b,c or range(start,stop)")
        if override.is_sweep_override():
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([text])
    differs = [len(values) > 1 for values in choices]
    return [Job(list(job), list(itertools.compress(job, differs))) for job in itertools.product(*choices)]


def parse_override(text: str) -> Override:
    """Parse one key=value by hydra's grammar.

    A value that the grammar does not allow (such as a path with an umlaut) is read as plain text if it has no special
    characters.
    """
    key, equals, value = text.partition("=")
    if not key or not (equals or key.startswith("~")):
        raise UsageError(f"{text!r} is not an override: write key=value, such as training.max_steps=1000")
    key = re.sub(r"\[(\d+)\]", r".\1", key)  # as messages write it: data.train[0].split
    plain = set(value).isdisjoint("[]{}()'\"\\$,:")
    parser = OverridesParser.create()
    for form in (f"{key}{equals}{value}", f"{key}='{value}'") if plain else (f"{key}{equals}{value}",):
        try:
            override = parser.parse_override(form)
        except HydraException as error:
            reason = _first_line(error)
        else:
            if override.package is not None or re.match("hydra|defaults|schema$|.*/", override.key_or_group):
                raise ConfigError(f"the override {text} names no key of the configuration")
            return override
    raise ConfigError(f"the override {text} cannot be read: {reason}; special characters need quotes: \"{key}='...'\"")


def _forced(override: Override) -> str:
    """Return the override with hydra's ++, so that it can add a missing key; the schema refuses unknown keys later."""
    if override.is_delete():
        return str(override.input_line)
    if override.key_or_group in _SECTIONS and not isinstance(override.value(), dict):
        raise ConfigError(f"{override.input_line}: name one of its presets, or set its keys")
    return f"++{override.key_or_group}={override.get_value_element_as_str()}"


def _deletion(override: Override, composed: DictConfig) -> list[str]:
    """Return an override that deletes the mapping which a list replaces, or the list which a mapping replaces, if any.

    hydra cannot merge a list with a mapping.
    """
    key, other = override.key_or_group, ListConfig if isinstance(override.value(), dict) else DictConfig
    with _one_sentence():
        there = OmegaConf.select(composed, key, throw_on_resolution_failure=False)
    return [f"~{key}"] if isinstance(there, other) else []


def _option(folder: Path, override: Override) -> str:
    """Return the preset that a group override chooses; if it does not exist, raise a ConfigError that lists all."""
    group, name = override.key_or_group, str(override.value())
    options = sorted({*_names(presets() / group), *_names(folder / group)})
    if not options:
        raise ConfigError(f"{group}={name}: there are no presets for {group}; set its keys, such as {group}.KEY=VALUE")
    if name not in options:
        raise ConfigError(_no_such(f"there is no {group}={name}", name, options))
    return name


def _chooses(entry: object, groups: dict[str, str]) -> bool:
    """Return whether an entry of a defaults list chooses a preset for one of the groups."""
    return isinstance(entry, DictConfig) and not set(entry).isdisjoint(groups)


def _hydra(folder: Path, node: DictConfig, overrides: list[str]) -> DictConfig:
    """Let hydra compose `node`; the files in its defaults list are looked up in `folder`, then among the presets."""
    node = _merge(node, {"hydra": {"searchpath": [f"file://{presets()}"]}})
    with _ONE_AT_A_TIME, _one_sentence(), warnings.catch_warnings():
        ConfigStore.instance().store(name=_NODE, node=node)
        warnings.filterwarnings("ignore", message=".*_self_")  # no warning if the defaults list lacks it
        with initialize_config_dir(str(folder.resolve()), job_name="nmt", version_base="1.3"):
            return hydra_compose(_NODE, overrides)


def _merge(first: DictConfig | dict[str, Any], second: DictConfig | dict[str, Any]) -> DictConfig:
    return cast(DictConfig, OmegaConf.merge(first, second))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn errors of hydra, OmegaConf and YAML into a ConfigError of one sentence."""
    try:
        with one_sentence():
            yield
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        sentence = f"the defaults list names {group and group + '='}{name}, which does not exist"
        raise ConfigError(_no_such(sentence, name, error.options or _names(presets() / group))) from error
    except RecursionError as error:
        raise ConfigError("a defaults list leads back to its own file") from error
    except HydraException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError((f"{key}: " if key else "") + _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return first_line(error).replace(_NODE, "the configuration")


def _no_such(sentence: str, name: str, options: Sequence[str]) -> str:
    if not options:
        return sentence
    return f"{sentence}{suggestion(name, options, 1)}; available: {', '.join(options)}"


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
