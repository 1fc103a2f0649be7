"""metrics.jsonl of a run directory: what happened in a training, one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from nmt.errors import Damaged
from nmt.reading import read_file, reading

METRICS = "metrics.jsonl"
_NUMBERS = (
    "step", "minutes", "loss", "perplexity", "bleu", "chrf", "source_tokens_per_second", "target_tokens_per_second",
)  # fmt: skip


class Event(NamedTuple):
    """A line of metrics.jsonl: its text, and the entry in it, which has an event and a step at least."""

    line: str
    entry: dict[str, Any]


def read_events(path: Path) -> tuple[list[Event], bool]:
    """Return the complete lines of metrics.jsonl, and whether the last line is incomplete, as after a crash.

    There are none if the file does not exist. Raises Damaged, naming the line, for any other line that is not an event.
    """
    if not path.exists():
        return [], False
    with reading(path):
        lines = read_file(path).decode("utf-8").splitlines()
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        entry = _entry(line)
        if entry is None and number == len(lines):
            return events, True
        if entry is None:
            raise Damaged(f"{path}, line {number}, is damaged: it is not an event of a training")
        events.append(Event(line, entry))
    return events, False


def _entry(line: str) -> dict[str, Any] | None:
    """Return the entry in a line; None for a line that is not an event."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str) or not isinstance(entry.get("step"), int):
        return None
    numbers = (entry[name] for name in _NUMBERS if entry.get(name) is not None)
    return entry if all(isinstance(number, int | float) for number in numbers) else None
