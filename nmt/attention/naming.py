"""Lookup of attention mechanisms by name: mechanism NAME of the kind ROOM is in nmt/attention/ROOM/NAME.py."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def make_by_name(room: str, name: str, *given: Any, by: str = "make") -> Any:
    """Call the function `by` of nmt/attention/ROOM/NAME.py with the given arguments and return its result."""
    return getattr(import_module(f"nmt.attention.{room}.{name}"), by)(*given)


def has_maker(room: str, name: str, by: str) -> bool:
    """Return whether nmt/attention/ROOM/NAME.py has a function called `by`."""
    return hasattr(import_module(f"nmt.attention.{room}.{name}"), by)
