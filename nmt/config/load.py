"""A configuration from a file or preset with overrides, and to and from a run's config.yaml."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nmt.config.migrate import SCHEMA, ConfigFile, differing, read_config_file, tell_changes
from nmt.config.plain import resolve
from nmt.config.schema import Config, SearchConfig
from nmt.config.typed import defaults, from_dict, keys, suggestion
from nmt.errors import ConfigError, UsageError
from nmt.files import atomic_write

_LONGEST_NAME = 120  # characters of a default run directory's name; file systems allow 255


def load_config(config: str, overrides: Sequence[str] = ()) -> Config:
    """The checked configuration of CONFIG.yaml or PRESET with `key=value` overrides, run_dir filled in.

    Raises ConfigError, or UsageError for an override that is none or that sweeps over several values.
    """
    jobs = load_sweep(config, overrides)
    if len(jobs) > 1:
        raise UsageError("an override names several values: add --multirun to run them one after the other")
    return jobs[0]


def load_sweep(config: str, overrides: Sequence[str] = ()) -> list[Config]:
    """One checked configuration for each combination of the values that overrides sweep over (seed=1,2,3)."""
    from nmt.config.compose import compose, expand, locate  # hydra: not needed to read a run's config.yaml

    path = locate(config)
    configs = []
    for job in expand(overrides):
        loaded = config_from_dict(compose(path, job.overrides))
        loaded.run_dir = _run_dir(loaded.run_dir, path, job.overrides, job.chosen)
        configs.append(loaded)
    return configs


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """A checked Config from nested dicts; refuses unknown keys, wrong types and impossible combinations."""
    config = from_dict(Config, values)
    config.check()
    return config


def override_search(search: SearchConfig, overrides: Sequence[str]) -> SearchConfig:
    """Search settings with `key=value` overrides of keys of the group; refuses unknown keys and wrong values."""
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    for override in overrides:
        if not override.partition("=")[0].strip() or "=" not in override:
            raise UsageError(f"--search {override} should be KEY=VALUE, such as --search stop=exact")
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
    except YAMLError as error:
        raise UsageError(f"--search {' '.join(overrides)}: a value is not valid YAML") from error
    assert isinstance(given, dict)
    return change_search(search, {str(key): value for key, value in given.items()})


def change_search(search: SearchConfig, changes: Mapping[str, Any]) -> SearchConfig:
    """Search settings with other values for some keys; refuses what a configuration would be refused for."""
    known = keys(SearchConfig)
    for name in changes:
        if name not in known:
            near = suggestion(name, known) or f": it has {', '.join(known)}"
            raise ConfigError(f"{name} is not a key of search{near}")
    changed = from_dict(SearchConfig, asdict(search) | dict(changes), "search")
    changed.check()
    return changed


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested dicts and lists of every key, in the order of the schema."""
    return asdict(config)


def config_to_flat(config: Config) -> dict[str, Any]:
    """Return the value of every key, under its dotted name such as training.max_steps; lists stay whole."""
    return _flat(asdict(config))


def config_to_yaml(config: Config) -> str:
    """Return the configuration as YAML that loads back to an equal Config; its first line is the schema's version."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create({"schema": SCHEMA, **_escape(asdict(config))}))


def save_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write the configuration to a YAML file, atomically."""
    with atomic_write(path) as file:
        file.write(config_to_yaml(config))


def read_config(path: str | os.PathLike[str], tells: bool = False) -> Config:
    """Read a YAML file that stands alone, such as a run's config.yaml: no presets, no overrides.

    With `tells`, stderr says so where the file is of an earlier version and its search has other rules now.
    """
    source = read_config_file(Path(path))
    if tells:
        tell_changes(Path(path), source.changes)
    return _checked(source, path)


def read_to_continue(path: str | os.PathLike[str], config: Config) -> tuple[Config, Config]:
    """Return the configuration that a run was begun with, and `config`, with which it is to go on.

    Where the run is of an earlier version of the schema, they agree in the keys that versions decide differently: a key
    of `config` with today's default takes what the run has, and a value that the run was begun with is that of both.
    """
    source = read_config_file(Path(path))
    begun = _checked(source, path)
    decided = differing(source.version)
    if not decided:
        return begun, config
    before, now, usual = config_to_flat(begun), config_to_flat(config), _flat(defaults(Config))
    for key in decided:
        if now[key] == usual[key]:
            now[key] = before[key]
        elif key in source.changes and now[key] == source.changes[key].before:
            before[key] = now[key]
    tell_changes(Path(path), {key: change for key, change in source.changes.items() if now[key] == change.now})
    return _with_values(begun, before), _with_values(config, now)


def take_over(config: Config, begun: Config) -> Config:
    """Return `config` with what a run was begun with in the keys that versions of the schema decide differently."""
    return _with_values(config, config_to_flat(begun))


def _checked(source: ConfigFile, path: str | os.PathLike[str]) -> Config:
    try:
        return config_from_dict(resolve(source.node))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _with_values(config: Config, flat: Mapping[str, Any]) -> Config:
    """Return the configuration with the values of `flat` in the keys that a version of the schema decides otherwise."""
    nested = asdict(config)
    for key in differing(1):
        section, name = key.split(".")
        nested[section][name] = flat[key]
    return config_from_dict(nested)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _run_dir(given: str | None, path: Path, overrides: Sequence[str], chosen: Sequence[str]) -> str:
    """Where a run goes: as given, plus what tells a sweep's jobs apart; else runs/, file name and overrides."""
    named = [text for text in overrides if not _sets_run_dir(text)]
    chosen = [text for text in chosen if not _sets_run_dir(text)]
    run = path.parent  # of a run's own config.yaml, which may have been moved since it was written
    of_a_run = path.name == "config.yaml" and (run / "checkpoints").is_dir() and len(named) == len(overrides)
    if of_a_run and (given is None or Path(given).resolve() != run.resolve()):
        given = str(run)
    if not given:
        return f"runs/{_file_name([path.stem, *named])}"
    if not chosen:
        return given
    return f"{given}-{_file_name(chosen)}" if of_a_run else str(Path(given) / _file_name(chosen))


def _sets_run_dir(override: str) -> bool:
    return override.lstrip("+~").startswith("run_dir=")


def _file_name(parts: Sequence[str]) -> str:
    """The parts joined, safe as a file name; what had to be altered or cut is told apart by a hash."""
    name = "-".join(part.lstrip("+") for part in parts)
    safe = re.sub(r"[^A-Za-z0-9._=+-]+", "_", name)[:_LONGEST_NAME]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _escape(value: Any) -> Any:
    """Nested values in which no text is taken for an interpolation when they are loaded."""
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value
