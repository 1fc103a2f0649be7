"""Run the examples of docs/python.md one after the other, in one Python session."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from nmt.resources import presets
from tests.docs.page import Block, blocks
from tests.docs.workplace import write_my_text, write_presets

EXAMPLES = [block for block in blocks("python.md") if block.language == "python"]


@pytest.fixture(scope="module")
def session(demo: Path) -> dict[str, Any]:
    """Return the global variables of the session, and write the files that the examples read."""
    write_my_text(demo)
    write_presets(demo)
    shutil.copy(presets() / "example.yaml", demo / "my.yaml")
    return {"__name__": "example"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.heading or "first")
def test_example(
    example: Block,
    session: dict[str, Any],
    demo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "import optuna" in example.code:  # nmt does not depend on it
        pytest.importorskip("optuna")
    monkeypatch.chdir(demo)
    exec(compile(example.code, f"docs/python.md, {example.heading}", "exec"), session)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= example.code.count("\nprint(")


def test_the_variables_and_files_that_the_examples_create(session: dict[str, Any], demo: Path) -> None:
    assert len(EXAMPLES) >= 6
    assert (demo / "head.png").read_bytes().startswith(b"\x89PNG")
    attention = session["attention"]
    assert attention.weights.shape == (2, 4, len(attention.target), len(attention.source))
    assert session["rows"].shape == attention.weights.shape[2:]
    assert session["run_dir"] == Path("runs/from_python")
    assert (demo / session["run_dir"] / "evaluations" / "test" / "hypotheses.txt").is_file()
    assert len(session["evaluation"].hypotheses) == len((demo / "my_text" / "test.de").read_text().splitlines())
