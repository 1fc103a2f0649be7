"""Read single YAML files with OmegaConf, such as a run's config.yaml, without hydra's presets and overrides.

A file may come from somebody else, so it is not trusted: whatever it holds, reading it ends soon and with one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from nmt.errors import ConfigError

_LARGEST = 250_000  # bytes of a file; a configuration has about 3,000
_DEEPEST = 50  # lists and mappings within each other; a configuration has 5
_LONGEST = 10_000  # characters of a key or value
_NOT_DECIMAL = re.compile(r"[-+]?(0[0-7_]+|[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")  # whole numbers to base 8 and 60
_INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")  # `${` that OmegaConf does not read as escaped


def read_text(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError if it cannot be read, is too large or is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from error
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"{path} has more than {_LARGEST:,} bytes, so it is no configuration")
    return text


def parse(text: str, path: Path) -> DictConfig:
    """Return the keys and values in the text of a file, without resolving interpolations.

    Raises ConfigError, which names the file and the line, for what is not YAML or has another form than configurations.
    """
    with one_sentence(f"{path}: "):
        _check_form(text, path)
        node = OmegaConf.create(text)
    if not isinstance(node, DictConfig) or not node:
        raise ConfigError(f"{path} should hold keys and values (YAML), such as seed: 1")
    return node


def _check_form(text: str, path: Path) -> None:
    """Raise ConfigError for YAML that would take OmegaConf forever, or more stack than Python has.

    This reads the events of the parser, which neither recurses nor follows aliases.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"{path}: line {event.start_mark.line + 1}"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ConfigError(f"{line} has more than {_DEEPEST} lists and mappings within each other")
        if getattr(event, "anchor", None) is not None:
            raise ConfigError(
                f"{line} has an anchor or alias of YAML (&{event.anchor} or *{event.anchor}), which is not allowed in "
                "a configuration: write the value itself"
            )
        if getattr(event, "tag", None) is not None:
            raise ConfigError(
                f"{line} has a tag of YAML ({event.tag}), which is not allowed in a configuration: write the value "
                "without it"
            )
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST:
            raise ConfigError(f"{line} has a key or value of more than {_LONGEST:,} characters")
        if isinstance(event, yaml.ScalarEvent) and event.style is None and _NOT_DECIMAL.fullmatch(event.value):
            raise ConfigError(
                f"{line} has {event.value}, which YAML reads as an octal number or as one to the base 60: write it in "
                "decimal or, if it is text, in quotes"
            )


def refuse_interpolations(value: Any, path: Path, key: str = "") -> None:
    """Raise ConfigError if `value`, found under `key`, has an interpolation, which could read the environment.

    nmt writes configurations without any. They could also grow without limit: ${a}${a}, with a: ${b}${b}, and so on.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            refuse_interpolations(item, path, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_interpolations(item, path, f"{key}[{index}]")
    elif isinstance(value, str) and _INTERPOLATION.search(value):
        raise ConfigError(
            f"{path}: {key}={value[:200]} has an interpolation, which is not resolved in the configuration of a run: "
            "write the value itself (a configuration of your own has no line `schema`)"
        )


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
