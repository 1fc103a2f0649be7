"""Write docs/results/data_and_scale.{json,md}, in which each of several scripts has a part of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import page

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "data_and_scale.json"
TITLE = """# How much text and how many processes can nmt handle?

Each part below answers one question and names the command that measured it. All figures:
[data_and_scale.json](data_and_scale.json).
"""


def write(path: Path, script: str, key: str, entry: Mapping[str, Any], part: Callable[[Any], list[str]]) -> None:
    """Put `entry` under `key` into the JSON file at `path`, and the text that `part` makes of it into the page."""

    def renewed(text: str, entries: Mapping[str, Any]) -> str:
        return page.between_marks(text, page.begin(script), part(entries[key]))

    page.write(path, key, entry, TITLE, renewed)
