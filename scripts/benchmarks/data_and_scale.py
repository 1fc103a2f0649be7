"""docs/results/data_and_scale.{json,md}: what several scripts measure, each in a part of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import page

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "data_and_scale.json"
TITLE = """# Data and scale

Each part says by which command it was made. Figures: [data_and_scale.json](data_and_scale.json).
"""


def write(path: Path, script: str, key: str, entry: Mapping[str, Any], part: Callable[[Any], list[str]]) -> None:
    """Put the entry under its key into the JSON at `path`, and what `part` makes of it into the page beside it."""

    def renewed(text: str, entries: Mapping[str, Any]) -> str:
        return page.between_marks(text, page.begin(script), part(entries[key]))

    page.write(path, key, entry, TITLE, renewed)
