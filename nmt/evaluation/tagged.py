"""Helpers for texts whose lines have tags: the rows of each tag and the target language of tagged lines."""

from __future__ import annotations

from collections.abc import Sequence

from nmt.config.data import DataConfig


def rows_by_tag(tags: Sequence[str | None]) -> dict[str, list[int]]:
    """Return the row numbers of each tag; lines without a tag are listed under "". Empty for a text without tags."""
    if not any(tags):
        return {}
    return {tag or "": [row for row, other in enumerate(tags) if other == tag] for tag in dict.fromkeys(tags)}


def target_language(data: DataConfig, tags: Sequence[str | None]) -> str:
    """Return the target language of lines with these tags, or data.target_language if they have different ones."""
    languages = {data.target_language_of(tag) for tag in tags}
    return languages.pop() if len(languages) == 1 else data.target_language
