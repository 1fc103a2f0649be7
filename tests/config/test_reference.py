"""Test that docs/configuration.md has every key of the schema with its default."""

import importlib.util
import re
from pathlib import Path

import pytest

from nmt.config.schema import Config
from nmt.config.typed import keys
from nmt.resources import presets

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_page_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "configuration_reference.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(TEXT) == TEXT, "run: python scripts/configuration_reference.py"


def test_every_key_has_a_row() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \|", TEXT, flags=re.MULTILINE))
    wanted = [re.sub(r"^data\.val\.", "", key) for key in keys(Config)]
    assert [key for key in wanted if key not in rows] == []
    assert rows - set(wanted) == set()


@pytest.mark.parametrize("group", ["model", "data", "training", "search"])
def test_every_group_option_is_named(group: str) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{group}` | `"))
    assert set(re.findall(r"`(\w+)`", row)) - {group} == {path.stem for path in (presets() / group).glob("*.yaml")}
