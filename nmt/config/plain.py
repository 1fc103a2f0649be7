"""YAML files as they stand, by OmegaConf: what a run's config.yaml takes, without hydra's presets and overrides."""

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
    """The keys and values of a YAML file, interpolations not yet resolved; errors name the file and the line."""
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
    """A plain dict with every interpolation replaced by its value: that in `node`, else that among the defaults."""
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
    """Turn what OmegaConf and YAML raise into a ConfigError of one sentence."""
    try:
        yield
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(error, prefix)) from error
    except (OmegaConfBaseException, ValueError) as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(prefix + (f"{key}: " if key else "") + first_line(error)) from error


def first_line(error: Exception) -> str:
    """What an error says in its first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _yaml_sentence(error: yaml.YAMLError, prefix: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or first_line(error)
    if mark is None:
        return f"{prefix}not valid YAML: {problem}"
    file = prefix or f"{mark.name}: "  # a file that hydra opened is named by the mark
    return f"{file}line {mark.line + 1} is not valid YAML: {problem}"
