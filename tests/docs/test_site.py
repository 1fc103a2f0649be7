"""Test the website: it has every page, and a broken link fails its build."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from build_site import SiteError, build, pages  # noqa: E402


def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    build(ROOT, tmp_path)
    html = tmp_path / "html"
    for page in pages(ROOT):
        name = "index" if page.stem == "README" else page.stem
        assert (html / page.relative_to(ROOT)).with_name(f"{name}.html").is_file()
    tour = (html / "docs" / "tour.html").read_text("utf-8")
    assert "<math" in tour
    assert "$$" not in tour
    assert "query_projection" in (html / "nmt" / "attention" / "scores.py.html").read_text("utf-8")


def test_every_page_is_in_the_navigation() -> None:
    navigation = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    assert sorted(_leaves(navigation)) == sorted(str(page.relative_to(ROOT)) for page in pages(ROOT))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("nowhere.md", "nowhere.md"),
        ("docs/page.md#nowhere", "anchor does not exist"),
        ("nmt/nowhere.py", "nmt/nowhere.py"),
        ("docs/nowhere.png", "docs/nowhere.png"),
    ],
)
def test_a_broken_link_fails_the_build(link: str, message: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "zensical.toml", root / "docs")
    (root / "docs" / "page.md").write_text("# A page\n\n## A part\n", "utf-8")
    (root / "README.md").write_text(f"# Start\n\n[good](docs/page.md#a-part), [bad]({link})\n", "utf-8")
    with pytest.raises(SiteError, match=message):
        build(root, tmp_path / "site")


def _leaves(navigation: Any) -> list[str]:
    """Return the pages that a navigation names, at any depth."""
    if isinstance(navigation, str):
        return [navigation]
    children = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for child in children for page in _leaves(child)]
