"""Results as JSON, and a page beside it whose tables are written anew from that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nmt.files import atomic_write

END = "<!-- to here -->"


def begin(script: str) -> str:
    """The mark before what a script writes."""
    return f"<!-- from here on written by scripts/{script} -->"


def write(
    path: Path, name: str, entry: Mapping[str, Any], page: str, renewed: Callable[[str, Mapping[str, Any]], str]
) -> None:
    """Put the entry under its name into the JSON at `path`, and renew the page of the same name, at first `page`."""
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
    """The page with its parts between the two marks written anew; without marks they come at its end."""
    before, found, after = text.partition(mark)
    if not found:
        before, after = text.rstrip() + "\n\n", f"{END}\n"
    return f"{before}{mark}\n\n{chr(10).join(parts)}\n{END}{after.partition(END)[2]}"


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median and range."""
    known = [value for value in values if value is not None]
    return {"median": median(known), "low": min(known), "high": max(known)} if known else None


def cell(value: Mapping[str, float] | None, form: str, ranged: bool) -> str:
    """A spread as a table shows it."""
    if value is None:
        return ""
    middle, low, high = (form.format(value[key]) for key in ("median", "low", "high"))
    return f"{middle} ({low} - {high})" if ranged and low != high else middle


def markdown_table(headings: Sequence[str], named: int, rows: Sequence[Sequence[str]]) -> str:
    """A table whose first `named` columns are words and the others figures."""
    rule = ["---"] * named + ["---:"] * (len(headings) - named)
    lines = [" | ".join(headings), "|".join(rule), *(" | ".join(row) for row in rows)]
    return "".join(f"|{line}|\n" if "---|" in line else f"| {line} |\n" for line in lines)
