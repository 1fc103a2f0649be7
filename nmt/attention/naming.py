"""Mechanisms by their names: each is the file of that name in the room of its kind."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def make_by_name(room: str, name: str, *given: Any, by: str = "make") -> Any:
    """Return what the function `by` of nmt/attention/ROOM/NAME.py makes of what is given."""
    return getattr(import_module(f"nmt.attention.{room}.{name}"), by)(*given)


def has_maker(room: str, name: str, by: str) -> bool:
    """Return whether nmt/attention/ROOM/NAME.py has that function."""
    return hasattr(import_module(f"nmt.attention.{room}.{name}"), by)
