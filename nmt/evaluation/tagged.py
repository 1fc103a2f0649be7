"""Texts whose lines have tags: which lines each tag has, and the language they are translated into."""

from __future__ import annotations

from collections.abc import Sequence

from nmt.config.data import DataConfig


def rows_by_tag(tags: Sequence[str | None]) -> dict[str, list[int]]:
    """The rows of each tag, of lines without one under ""; nothing for a text without tags."""
    if not any(tags):
        return {}
    return {tag or "": [row for row, other in enumerate(tags) if other == tag] for tag in dict.fromkeys(tags)}


def target_language(data: DataConfig, tags: Sequence[str | None]) -> str:
    """The language of the translations of lines with these tags; data.target_language where they have several."""
    languages = {data.target_language_of(tag) for tag in tags}
    return languages.pop() if len(languages) == 1 else data.target_language
