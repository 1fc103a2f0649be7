"""Test that every number in the configuration has a range: its ends are accepted, values beyond them refused."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest

from nmt.config.data import CorpusConfig
from nmt.config.models import MODEL_FAMILIES
from nmt.config.ranges import Range, kind_and_range
from nmt.config.schema import Config, SearchConfig
from nmt.config.typed import from_dict
from nmt.errors import ConfigError


class Number(NamedTuple):
    """A place in a dataclass that takes a number."""

    owner: type
    key: str  # its key in the owner
    kind: type
    limits: Range | None
    wrap: Any  # turns the number into the value of the key


def numbers(owner: type) -> Iterator[Number]:
    """Return all numbers in a dataclass and in the dataclasses inside it, also in lists, dicts and unions."""
    for key, hint in get_type_hints(owner, include_extras=True).items():
        yield from _numbers(owner, key, hint, lambda value: value)


def _numbers(owner: type, key: str, hint: Any, wrap: Any) -> Iterator[Number]:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        yield from numbers(hint)  # type: ignore[arg-type]
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _numbers(owner, key, member, wrap)
    elif origin is list:
        yield from _numbers(owner, key, arguments[0], lambda value: wrap([value]))
    elif origin is dict:
        yield from _numbers(owner, key, arguments[1], lambda value: wrap({"name": value}))
    elif origin is not Literal:
        kind, limits = kind_and_range(hint)
        if kind in (int, float):
            yield Number(owner, key, kind, limits, wrap)


NUMBERS = list({(number.owner, number.key): number for number in numbers(Config)}.values())
BY_NAME = pytest.mark.parametrize("number", NUMBERS, ids=[f"{each.owner.__name__}.{each.key}" for each in NUMBERS])


def given(number: Number, value: float) -> Any:
    """Return the value of the key after the configuration has been read from a dict."""
    required = {"source_language": "de", "target_language": "en"} if number.owner.__name__ == "DataConfig" else {}
    required |= {"model": {"family": "luong"}, "data": {"source_language": "de", "target_language": "en"}} if (
        number.owner is Config
    ) else {}  # fmt: skip
    values = required | {number.key: number.wrap(value)}
    return getattr(from_dict(number.owner, values, "at"), number.key)


def test_the_walk_finds_numbers_wherever_they_are() -> None:
    found = {(number.owner, number.key) for number in NUMBERS}
    assert {(CorpusConfig, "weight"), (SearchConfig, "beam_size"), (Config, "seed")} <= found
    assert {owner.__name__ for owner, _ in found} >= {"OptimizerConfig", "ScheduleConfig", "FineTuneConfig"}
    assert {owner for owner, _ in found} >= set(MODEL_FAMILIES.values())


@BY_NAME
def test_every_number_has_a_range_with_its_default_in_it(number: Number) -> None:
    assert number.limits is not None, f"{number.owner.__name__}.{number.key}: annotate it with a Range"
    field = next(field for field in dataclasses.fields(number.owner) if field.name == number.key)
    default = field.default_factory() if callable(field.default_factory) else field.default
    for value in default if isinstance(default, list) else [default]:
        if isinstance(value, int | float):
            assert value in number.limits


@BY_NAME
def test_the_ends_are_accepted_and_what_is_beyond_is_refused(number: Number) -> None:
    assert number.limits is not None
    least, most, above, below = dataclasses.astuple(number.limits)
    is_whole = number.kind is int
    assert not is_whole or most < math.inf, "whole numbers end somewhere"

    def next_to(end: float, towards: float) -> float:
        return end + (1 if towards > end else -1) if is_whole else math.nextafter(end, towards)

    first = next_to(least, math.inf) if above else least
    last = min(next_to(most, -math.inf) if below else most, 1.7e308)
    for value in (first, last):
        assert given(number, value) == number.wrap(value)
    too_large = [] if most == math.inf else [next_to(last, math.inf)]
    for value in (next_to(first, -math.inf), *too_large, -1e300, -(10**30), 10**400, math.inf, math.nan):
        with pytest.raises(ConfigError) as caught:
            given(number, value)
        assert str(caught.value).startswith(f"at.{number.key}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Range(0), "of at least 0"),
        (Range(0, above=True), "above 0"),
        (Range(1, 1024), "from 1 to 1,024"),
        (Range(0, 1, below=True), "from 0 to below 1"),
        (Range(0, 1, above=True), "above 0 and at most 1"),
        (Range(0, 1, above=True, below=True), "above 0 and below 1"),
        (Range(0.98, 1), "from 0.98 to 1"),
    ],
)
def test_a_range_in_words(limits: Range, words: str) -> None:
    assert str(limits) == words
