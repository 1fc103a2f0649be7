"""Widths with which systems have the same number of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nmt.config.load import config_from_dict, config_to_dict
from nmt.config.schema import Config
from nmt.errors import ConfigError
from nmt.study.cost import Sizes, parameters_of

_MULTIPLES = (8, 4, 2, 1)  # of which a width is one, the fastest first
_WIDEST = 1 << 16


def width_for(config: Config, keys: Sequence[str], parameters: int, tolerance: float, sizes: Sizes, name: str) -> int:
    """Return the width which, as the value of all `keys`, gives a model this number of parameters within a tolerance.

    It is the nearest multiple of 8, or else of 4, 2 or 1. Raises ConfigError, naming the system, if there is none.
    """
    best: tuple[int, int] | None = None
    refusal = ""
    for multiple in _MULTIPLES:
        try:
            width = _nearest(lambda width: parameters_of(_with(config, keys, width), sizes), parameters, multiple)
        except ConfigError as error:
            refusal = str(error)
            continue
        found = parameters_of(_with(config, keys, width), sizes)
        if best is None or abs(found - parameters) < abs(best[1] - parameters):
            best = width, found
        if abs(found - parameters) <= tolerance * parameters:
            return width
    told = " and ".join(keys)
    if best is None:
        raise ConfigError(f"match.widths.{name}: no width works as {told} ({refusal})")
    raise ConfigError(
        f"match.widths.{name}: no value of {told} gives {parameters:,} parameters; the nearest, {best[0]}, gives "
        f"{best[1]:,}: choose another key, another number or a larger tolerance"
    )


def _nearest(count: Callable[[int], int], wanted: int, multiple: int) -> int:
    """Return the multiple whose count is nearest to `wanted`, for a count that grows with the width."""
    low, high = 1, 2
    while count(high * multiple) < wanted and high * multiple < _WIDEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle * multiple) < wanted else (low, middle)
    return min((low * multiple, high * multiple), key=lambda width: abs(count(width) - wanted))


def _with(config: Config, keys: Sequence[str], width: int) -> Config:
    values: dict[str, Any] = config_to_dict(config)
    for key in keys:
        *sections, name = key.split(".")
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or name not in section:
            raise ConfigError(f"{key} is not a key of this system")
        section[name] = width
    return config_from_dict(values)
