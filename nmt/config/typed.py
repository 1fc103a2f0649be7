"""Convert plain dicts to typed dataclasses, and raise ConfigError for unknown keys, wrong types and bad numbers."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nmt.config.ranges import NUMBERS, kind_and_range
from nmt.config.schema import Config  # only for suggested names: the rest of this file works for any schema
from nmt.errors import ConfigError

T = TypeVar("T")
_LARGEST = sys.float_info.max
_NEAR = 0.6  # difflib's ratio from which names count as similar: that of beam and beam_size
_SHOWN = 200  # characters of a value in a message
_NAMES = NUMBERS | {bool: "true or false", str: "text", types.NoneType: "null"}


def from_dict(cls: type[T], value: object, key: str = "", owner: str = "the configuration") -> T:
    """Build the dataclass `cls` from the mapping `value` found under `key` ("" = the whole configuration).

    Values are converted by the type hints of the fields: lists, dicts, Literals, optional values, nested dataclasses,
    unions of dataclasses (distinguished by a Literal field that all of them have, such as family), and numbers in the
    Range of an Annotated hint. Raises ConfigError for a value that does not fit; `owner` names the owner of the keys in
    its message.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{_show(key, value)}: expected keys and values ({', '.join(get_type_hints(cls))})")
    hints = get_type_hints(cls, include_extras=True)
    for name in value:
        if name not in hints:
            raise ConfigError(_unknown_key(cls, key, str(name), owner))
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in value and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{_join(key, field.name)} is missing: it has no default")
    return cls(**{name: _convert(hints[name], item, _join(key, name)) for name, item in value.items()})


def keys(cls: Any, prefix: str = "") -> list[str]:
    """Return all full keys under the dataclass (or union of dataclasses) `cls`: also sections, but not list items."""
    found = []
    for member in _dataclasses(cls):
        for name, hint in get_type_hints(member).items():
            found += [_join(prefix, name), *keys(hint, _join(prefix, name))]
    return list(dict.fromkeys(found))


def defaults(cls: Any) -> dict[str, Any]:
    """Return the defaults under the dataclass `cls` as nested dicts, without the keys that have no default."""
    found: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            found[field.name] = defaults(hints[field.name])
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            found[field.name] = field.default
    return found


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that `name` may be a misspelling of, the most similar first.

    Names are compared by the part after the last dot, by its initials (lr for learning_rate), and as a whole. The list
    is empty if no name is similar enough.
    """
    last = name.rpartition(".")[2]
    near = {}
    for other in names:
        other_last = other.rpartition(".")[2]
        initials = "".join(word[:1] for word in other_last.split("_"))
        short_for = len(last) > 1 and last == initials
        alike, whole = (difflib.SequenceMatcher(None, *pair).ratio() for pair in ((last, other_last), (name, other)))
        if short_for or alike >= _NEAR or (len(last) > 2 and last in other_last):
            near[other] = short_for + alike + whole
    return sorted(near, key=near.__getitem__, reverse=True)[:count]


def suggestion(name: str, names: Iterable[str], count: int = 3) -> str:
    """Return the end of a message about a wrong `name`: the most similar names, or nothing if none is similar."""
    near = nearest(name, names, count)
    return f"; nearest: {', '.join(near)}" if near else ""


def _convert(hint: Any, value: object, key: str) -> Any:
    """Convert `value` to the type hint; `key` is the full key, for messages."""
    members = _members(hint)
    classes = _dataclasses(hint)
    containers = {get_origin(member): get_args(member) for member in members}
    words = containers.get(Literal, ())
    scalars = [member for member in members if kind_and_range(member)[0] in _NAMES]
    if value is None and types.NoneType in members:
        return None
    if list in containers and isinstance(value, list):
        return [_convert(containers[list][0], item, f"{key}[{index}]") for index, item in enumerate(value)]
    if classes:
        return _convert_tagged(classes, value, key) if len(classes) > 1 else from_dict(classes[0], value, key)
    if dict in containers:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{_show(key, value)}: expected names and values")
        names, items = containers[dict]
        return {_convert(names, name, key): _convert(items, item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, str) and value in words:
        return value
    if any(member is not types.NoneType for member in scalars):
        return _convert_scalar(scalars, value, key, words)
    if not words:
        raise ConfigError(f"{_show(key, value)}: expected a list")
    expected = f"expected one of {', '.join(words)}{', or a list of them' if list in containers else ''}"
    raise ConfigError(f"{_show(key, value)}: {expected}{suggestion(str(value), words, 1)}")


def _convert_tagged(classes: list[Any], value: object, key: str) -> Any:
    """Convert `value` to one of `classes`: the class whose tag (a Literal field with a single value) `value` has."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{_show(key, value)}: expected keys and values")
    hints = [get_type_hints(cls) for cls in classes]
    tag = next(name for name in hints[0] if all(len(get_args(hint.get(name))) == 1 for hint in hints))
    by_name = {get_args(hint[tag])[0]: cls for hint, cls in zip(hints, classes, strict=True)}
    if tag not in value:
        raise ConfigError(f"{key}.{tag} is missing: expected one of {', '.join(by_name)}")
    name = _convert(Literal[tuple(by_name)], value[tag], f"{key}.{tag}")
    return from_dict(by_name[name], value, key, owner=f"{key}.{tag}={name}")


def _convert_scalar(accepted: Sequence[Any], value: object, key: str, words: Sequence[str]) -> Any:
    """Convert `value` to one of the `accepted` types: int, float, bool, str or None.

    A float without a fraction, such as 1e5, is accepted as an int, and an int as a float. The message of an error also
    lists `words`, the strings that would have been accepted.
    """
    ranges = dict(map(kind_and_range, accepted))
    kind = _kind_of(value, ranges)
    limits = ranges.get(kind)
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{_show(key, value)}: text with the character NUL is not allowed")
    if kind in ranges and (limits is None or value in limits):
        return kind(value) if kind in (int, float) else value
    told = {kind: f" {limits}"} if limits is not None else {}  # a range only for the type that the value has
    expected = " or ".join([*words, *(_NAMES[other] + told.get(other, "") for other in ranges)])
    quote = " (in quotes)" if str in ranges and isinstance(value, bool | int | float) else ""
    raise ConfigError(f"{_show(key, value)}: expected {expected}{quote}")


def _kind_of(value: object, accepted: Iterable[Any]) -> Any:
    """Return the type that a value is read as, given the accepted types; None for nan and for numbers beyond floats."""
    kind = type(value)
    if kind is int and int not in accepted:
        kind = float
    elif isinstance(value, float) and float not in accepted and value.is_integer():
        kind = int
    is_number = isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST
    return kind if is_number or kind not in (int, float) else None


def _unknown_key(cls: Any, key: str, name: str, owner: str) -> str:
    full = _join(key, name)
    candidates = [other for other in keys(Config) if not key or not other.startswith(f"{key}.")]
    candidates += [_join(key, other) for other in keys(cls)]
    near = suggestion(full, candidates) or f": {key or 'it'} has {', '.join(get_type_hints(cls))}"
    return f"{full} is not a key of {owner}{near}"


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _dataclasses(hint: Any) -> list[Any]:
    return [member for member in _members(hint) if dataclasses.is_dataclass(member)]


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _show(key: str, value: object) -> str:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{key or 'the configuration'}={shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}...'}"
