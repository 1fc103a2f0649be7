"""Joining lines keeps the order of the text and both sides parallel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "join_lines.py"


def test_joined_lines_are_the_text_in_order_and_long_enough(tmp_path: Path) -> None:
    sources = [f"{number} " + "wort " * (number % 5) for number in range(60)]
    targets = [f"{number} word" for number in range(60)]
    for name, lines in (("in.de", sources), ("in.en", targets)):
        (tmp_path / name).write_text("".join(f"{line.strip()}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, SCRIPT, tmp_path / "in.de", tmp_path / "in.en", tmp_path / "long" / "train", "de", "en"]
    said = subprocess.check_output([*command, "--words", "10", "20"], text=True)
    german, english = (
        (tmp_path / "long" / f"train.{suffix}").read_text("utf-8").splitlines() for suffix in ("de", "en")
    )
    assert said.startswith(f"{len(german)} pairs")
    assert len(german) == len(english) > 5
    for side, other in zip(german, english, strict=True):
        assert 10 <= len(side.split()) < 20 + 5, "less than one line more than the longest"
        assert [each for each in side.split() if each != "wort"] == [each for each in other.split() if each != "word"]
    numbers = [int(each) for line in english for each in line.split() if each != "word"]
    assert numbers == list(range(len(numbers))), "no line is lost before the end"
