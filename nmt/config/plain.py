"""Read single YAML files with OmegaConf, such as a run's config.yaml, without hydra's presets and overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from nmt.errors import ConfigError


def read_yaml(path: Path) -> DictConfig:
    """Read the keys and values of a YAML file without resolving interpolations; errors name the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from error
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}") from error
    with one_sentence(f"{path}: "):
        node = OmegaConf.create(text)
    if not isinstance(node, DictConfig) or not node:
        raise ConfigError(f"{path} should hold keys and values (YAML), such as seed: 1")
    return node


def resolve(node: DictConfig, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return `node` as a plain dict with interpolations resolved; `defaults` gives the keys missing in `node`."""
    with one_sentence():
        try:
            return _plain(node)
        except InterpolationKeyError:
            if defaults is None:
                raise
            return _plain(cast(DictConfig, OmegaConf.merge(defaults, node)))


def _plain(node: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True, throw_on_missing=True))


@contextmanager
def one_sentence(prefix: str = "") -> Iterator[None]:
    """Turn errors of OmegaConf and YAML into a ConfigError of one sentence, which begins with `prefix`."""
    try:
        yield
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(error, prefix)) from error
    except (OmegaConfBaseException, ValueError) as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(prefix + (f"{key}: " if key else "") + first_line(error)) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _yaml_sentence(error: yaml.YAMLError, prefix: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or first_line(error)
    if mark is None:
        return f"{prefix}not valid YAML: {problem}"
    file = prefix or f"{mark.name}: "  # if hydra opened the file, only the mark has its name
    return f"{file}line {mark.line + 1} is not valid YAML: {problem}"
