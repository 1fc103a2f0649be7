"""Keep results as JSON, next to a page whose tables are written from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nmt.files import atomic_write

END = "<!-- to here -->"


def begin(script: str) -> str:
    """Return the mark before the part of a page that a script writes."""
    return f"<!-- from here on written by scripts/{script} -->"


def write(
    path: Path, name: str, entry: Mapping[str, Any], page: str, renewed: Callable[[str, Mapping[str, Any]], str]
) -> None:
    """Put `entry` under `name` into the JSON file at `path`, and update the page next to it (initially `page`)."""
    entries = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    entries[name] = dict(entry)
    with atomic_write(path) as file:
        json.dump(entries, file, indent=1)
        file.write("\n")
    beside = path.with_suffix(".md")
    text = beside.read_text("utf-8") if beside.is_file() else page
    with atomic_write(beside) as file:
        file.write(renewed(text, entries))


def between_marks(text: str, mark: str, parts: Sequence[str]) -> str:
    """Return the page with `parts` between the two marks; without marks they are added at the end."""
    before, found, after = text.partition(mark)
    if not found:
        before, after = text.rstrip() + "\n\n", f"{END}\n"
    return f"{before}{mark}\n\n{chr(10).join(parts)}\n{END}{after.partition(END)[2]}"


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Return the median and the range of the known values, or None if there are none."""
    known = [value for value in values if value is not None]
    return {"median": median(known), "low": min(known), "high": max(known)} if known else None


def cell(value: Mapping[str, float] | None, form: str, ranged: bool) -> str:
    """Format a spread as a table cell."""
    if value is None:
        return ""
    middle, low, high = (form.format(value[key]) for key in ("median", "low", "high"))
    return f"{middle} ({low} - {high})" if ranged and low != high else middle


def markdown_table(headings: Sequence[str], named: int, rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first `named` columns are text and the others figures."""
    rule = ["---"] * named + ["---:"] * (len(headings) - named)
    lines = [" | ".join(headings), "|".join(rule), *(" | ".join(row) for row in rows)]
    return "".join(f"|{line}|\n" if "---|" in line else f"| {line} |\n" for line in lines)
