"""Write the tables of docs/configuration.md from the schema: every key, its default, its values and its comment.

Run it after a change to nmt/config/schema.py, data.py, models.py or mechanisms.py. A test checks that the page is up to
date.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nmt.config import data, schema
from nmt.config.models import MODEL_FAMILIES
from nmt.config.ranges import kind_and_range

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
MARK = "<!-- from here on written by scripts/configuration_reference.py -->\n"
MECHANISMS = {  # the mechanisms that have options, by the names of their keys
    name: hint
    for family in MODEL_FAMILIES.values()
    for name, hint in get_type_hints(family).items()
    if dataclasses.is_dataclass(hint)
}
SECTIONS = [  # heading, prefix of the keys, dataclass
    ("At the top", "", schema.Config),
    ("data", "data.", data.DataConfig),
    ("data.train[N], data.val, data.test.NAME", "", data.CorpusConfig),
    ("data.cleaning", "data.cleaning.", data.CleaningConfig),
    ("tokenizer", "tokenizer.", data.TokenizerConfig),
    *((f"model with model.family={family}", "model.", cls) for family, cls in MODEL_FAMILIES.items()),
    *((f"model.{name}", f"model.{name}.", cls) for name, cls in MECHANISMS.items()),
    ("training", "training.", schema.TrainingConfig),
    ("training.optimizer", "training.optimizer.", schema.OptimizerConfig),
    ("training.schedule", "training.schedule.", schema.ScheduleConfig),
    ("training.guided_attention", "training.guided_attention.", schema.GuidedAttentionConfig),
    ("fine_tune", "fine_tune.", schema.FineTuneConfig),
    ("search", "search.", schema.SearchConfig),
]
NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text", types.NoneType: "null"}


def page(text: str) -> str:
    """Return the page with its tables replaced."""
    return text.split(MARK)[0] + MARK + "".join(_section(*section) for section in SECTIONS)


def _section(heading: str, prefix: str, cls: Any) -> str:
    hints, said = get_type_hints(cls, include_extras=True), _comments(cls)
    rows = [
        f"| `{prefix}{field.name}` | {_default(field)} | {_values(hints[field.name])} | {said.get(field.name, '')} |\n"
        for field in dataclasses.fields(cls)
    ]
    paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
    text = "\n\n".join(textwrap.fill(paragraph, 100, break_long_words=False) for paragraph in paragraphs)
    return f"\n### {heading}\n\n{text}\n\n| key | default | values | |\n|---|---|---|---|\n{''.join(rows)}"


def _comments(cls: Any) -> dict[str, str]:
    """Return the comment at the end of the line of each field."""
    lines = re.findall(r"^    (\w+): [^#\n]*#\s*(.*)$", inspect.getsource(cls), flags=re.MULTILINE)
    return {name: comment.replace("|", "\\|") for name, comment in lines}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif field.default is not dataclasses.MISSING:
        value = field.default
    else:
        return "*required*"
    if dataclasses.is_dataclass(value):
        return "as below"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _values(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        members = [_values(member) for member in get_args(hint)]
        return " or ".join(dict.fromkeys(members))
    if get_origin(hint) is list:
        return f"list of: {_values(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"names with: {_values(get_args(hint)[1])}"
    kind, limits = kind_and_range(hint)
    return NAMES.get(kind, "keys below") + (f" {limits}" if limits is not None else "")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
