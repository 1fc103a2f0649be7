"""Test docs/tour.md: its excerpts are still in the code, and its pictures exist and can be drawn."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from tour_pictures import PICTURES  # noqa: E402

PAGE = (ROOT / "docs" / "tour.md").read_text("utf-8")
EXCERPTS = re.findall(
    r"From\s+\[(nmt/[\w/]+\.py)\]\(\.\./(nmt/[\w/]+\.py)\)[^\n]*:\n\n```python\n(.*?)```", PAGE, re.DOTALL
)


def test_every_block_of_code_names_its_file() -> None:
    assert len(EXCERPTS) == PAGE.count("```python") > 8


@pytest.mark.parametrize(("shown", "linked", "code"), EXCERPTS)
def test_an_excerpt_is_still_in_its_file(shown: str, linked: str, code: str) -> None:
    assert shown == linked
    content = (ROOT / shown).read_text("utf-8")
    assert any(indent(dedent(code), " " * depth) in content for depth in range(0, 20, 4)), (
        f"{shown} does not contain:\n{code}"
    )


def test_the_page_shows_every_picture() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(tour/(\w+)\.png\)", PAGE)
    assert sorted(shown) == sorted(draw.__name__ for draw in PICTURES)
    assert all((ROOT / "docs" / "tour" / f"{name}.png").is_file() for name in shown)


@pytest.mark.parametrize("name", ["saturation", "positions", "cost"])
def test_a_picture_that_needs_no_run_is_drawn(name: str, tmp_path: Path) -> None:
    (draw,) = (each for each in PICTURES if each.__name__ == name)
    path = tmp_path / "picture.png"
    draw(tmp_path).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")
