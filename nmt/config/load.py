"""Load a configuration from a file or preset with overrides, and write and read the config.yaml of runs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nmt.config.migrate import SCHEMA, ConfigFile, differing, is_in_run, read_config_file, tell_changes
from nmt.config.plain import first_line, resolve
from nmt.config.schema import Config, SearchConfig
from nmt.config.typed import defaults, from_dict, keys, suggestion
from nmt.errors import ConfigError, UsageError
from nmt.files import atomic_write

_LONGEST_NAME = 120  # characters in the name of a default run directory; file systems allow 255


def load_config(config: str, overrides: Sequence[str] = ()) -> Config:
    """Load and check CONFIG.yaml or PRESET with `key=value` overrides, and fill in run_dir.

    Raises ConfigError, or UsageError for an override that is malformed or has several values.
    """
    jobs = load_sweep(config, overrides)
    if len(jobs) > 1:
        raise UsageError("an override names several values, but here each key takes one")
    return jobs[0]


def load_sweep(config: str, overrides: Sequence[str] = ()) -> list[Config]:
    """Load and check one configuration for each combination of the overrides' values (seed=1,2,3 has three)."""
    from nmt.config.compose import compose, expand, locate  # imports hydra, which a run's config.yaml does not need

    path = locate(config)
    configs = []
    for job in expand(overrides):
        loaded = config_from_dict(compose(path, job.overrides))
        loaded.run_dir = _run_dir(loaded.run_dir, path, job.overrides, job.chosen)
        configs.append(loaded)
    return configs


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """Build a Config from nested dicts; raise ConfigError for unknown keys, wrong types or impossible combinations."""
    config = from_dict(Config, values)
    config.check()
    return config


def override_search(search: SearchConfig, overrides: Sequence[str]) -> SearchConfig:
    """Apply `key=value` overrides, without the prefix `search.`, to search settings.

    Raises UsageError for an override that is malformed, and ConfigError for an unknown key or an invalid value.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    for override in overrides:
        if not override.partition("=")[0].strip() or "=" not in override:
            raise UsageError(f"--search {override} should be KEY=VALUE, such as --search stop=exact")
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
    except YAMLError as error:
        raise UsageError(f"--search {' '.join(overrides)}: a value is not valid YAML") from error
    except OmegaConfBaseException as error:
        raise UsageError(f"--search {' '.join(overrides)}: a value cannot be read: {first_line(error)}") from error
    assert isinstance(given, dict)
    return change_search(search, {str(key): value for key, value in given.items()})


def change_search(search: SearchConfig, changes: Mapping[str, Any]) -> SearchConfig:
    """Return search settings with some values changed; raise ConfigError as for a configuration file."""
    known = keys(SearchConfig)
    for name in changes:
        if name not in known:
            near = suggestion(name, known) or f": it has {', '.join(known)}"
            raise ConfigError(f"{name} is not a key of search{near}")
    changed = from_dict(SearchConfig, asdict(search) | dict(changes), "search")
    changed.check()
    return changed


def config_to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dicts and lists, with every key in the order of the schema."""
    return asdict(config)


def config_to_flat(config: Config) -> dict[str, Any]:
    """Return the value of every key by its dotted name, such as training.max_steps; a list stays one value."""
    return _flat(asdict(config))


def config_to_yaml(config: Config) -> str:
    """Return the configuration as YAML that loads back to an equal Config; the first line is the schema version."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create({"schema": SCHEMA, **_escape(asdict(config))}))


def save_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write the configuration to a YAML file, atomically."""
    with atomic_write(path) as file:
        file.write(config_to_yaml(config))


def read_config(path: str | os.PathLike[str], tells: bool = False) -> Config:
    """Read a run's config.yaml, or another file that nmt wrote with every key: no presets, overrides, interpolations.

    With `tells`, print a line on stderr if the file is of an earlier version and its search settings were converted
    from the defaults of that version to today's.
    """
    source = read_config_file(Path(path), of_run=True)
    if tells:
        tell_changes(Path(path), source.changes)
    return _checked(source, path)


def read_to_continue(path: str | os.PathLike[str], config: Config) -> tuple[Config, Config]:
    """Return the configuration in a run's config.yaml at `path`, and `config`, with which the run will continue.

    If the run follows an earlier version of the schema, the two are made to agree in the keys whose defaults the
    versions differ in. If `config` has today's default, it takes the run's value. If it has the value that the file
    had before it was converted, this value is used for both.
    """
    source = read_config_file(Path(path), of_run=True)
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
    """Return `config` with the values of `begun` for the keys whose defaults differ between versions of the schema."""
    return _with_values(config, config_to_flat(begun))


def _checked(source: ConfigFile, path: str | os.PathLike[str]) -> Config:
    try:
        return config_from_dict(resolve(source.node))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _with_values(config: Config, flat: Mapping[str, Any]) -> Config:
    """Return `config` with the values of `flat` for the keys whose defaults differ between versions of the schema."""
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
    """Return the directory of a run: `given` plus the job's varying overrides, by default runs/FILE-OVERRIDES.

    A run's own config.yaml continues that run in the folder where the file is.
    """
    named = [text for text in overrides if not _sets_run_dir(text)]
    chosen = [text for text in chosen if not _sets_run_dir(text)]
    run = path.parent  # if path is a run's config.yaml, whose folder may have been moved
    of_a_run = is_in_run(path) and len(named) == len(overrides)
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
    """Join the parts to a safe file name; add a hash to keep names distinct that had to be altered or cut."""
    name = "-".join(part.lstrip("+") for part in parts)
    safe = re.sub(r"[^A-Za-z0-9._=+-]+", "_", name)[:_LONGEST_NAME]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _escape(value: Any) -> Any:
    """Escape `${` in all strings of nested values, so that OmegaConf does not read it as an interpolation."""
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value
