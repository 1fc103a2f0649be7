"""Test the commands for installing optional packages, in messages and pages: they work in the source folder."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from nmt.errors import NmtError
from nmt.extras import import_extra

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXT = [
    path
    for folder in ("nmt", "docs", "configs", "scripts", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ".sh", ".html"} and path != Path(__file__)
] + [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")]


def test_a_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastchrf", None)
    with pytest.raises(NmtError) as caught:
        import_extra("fastchrf", "mbr")
    assert str(caught.value) == (
        "this needs the package fastchrf, which is not installed: "
        "run pip install -e '.[mbr]' in the folder of nmt's source"
    )


def test_nothing_installs_the_unrelated_project_nmt_of_the_package_index() -> None:
    assert PROJECT["name"] == "nmt-toolkit"
    asked = re.compile(r"\bnmt\\?\[|pip install (?:-\S+ )*['\"]?nmt\b(?!-toolkit)")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}" for path in TEXT for match in asked.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_every_extra_that_is_named_exists_and_has_the_package() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {extra for path in TEXT for extra in re.findall(r"\.\[(\w+)\]['\"]", path.read_text("utf-8"))}
    assert {"mbr", "fast", "langid"} <= named <= set(extras)
    calls = re.compile(r"import_extra\(\"(\w+)\"(?:, \"(\w+)\")?\)")
    for path in TEXT:
        for package, extra in calls.findall(path.read_text("utf-8")):
            assert any(entry.startswith(package) for entry in extras[extra or package]), f"{path}: {package}"
