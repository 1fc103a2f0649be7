"""Run the notebook on tiny runs, and check that it draws as many pictures as the committed notebook has."""

from __future__ import annotations

import base64
import io
import shlex
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from nmt.config.load import load_config
from nmt.config.models import LuongConfig

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "attention.ipynb"


def pictures(cell: Any) -> list[bytes]:
    """Return the PNG pictures in the output of a cell."""
    data = [output.get("data", {}) for output in cell.get("outputs", ())]
    return [base64.b64decode(one["image/png"]) for one in data if "image/png" in one]


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_every_cell_runs_and_draws_its_pictures(demo: Path, committed: Any) -> None:
    folder = demo / "docs" / "notebooks"  # paths of runs in the notebook are relative to its folder
    folder.mkdir(parents=True)
    executed = nbformat.from_dict(committed.copy())
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(executed, timeout=120, resources={"metadata": {"path": folder}}).execute()  # raises if a cell fails
    drawn = [[Image.open(io.BytesIO(png)) for png in pictures(cell)] for cell in executed.cells]
    assert [len(images) for images in drawn] == [len(pictures(cell)) for cell in committed.cells]
    for image in (image for images in drawn for image in images):
        assert len(image.convert("L").getcolors() or ()) > 20, "an empty picture"
    printed = [bool(stdout_of(cell)) for cell in executed.cells]
    assert printed == [bool(stdout_of(cell)) for cell in committed.cells]


def test_the_committed_notebook_has_its_outputs(committed: Any) -> None:
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        "run all cells in order, in a fresh kernel"
    )
    assert sum(len(pictures(cell)) for cell in code) >= 7
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert not [cell.source for cell in code if any(output.get("name") == "stderr" for output in cell.outputs)]


def test_its_training_command_trains_the_model_that_it_shows(committed: Any) -> None:
    lines = committed.cells[0].source.replace("\\\n", "").splitlines()
    (command,) = [shlex.split(line) for line in lines if line.startswith("nmt-train ")]
    config = load_config(command[1], command[2:])
    assert isinstance(config.model, LuongConfig)
    assert config.model.score == "general"
    assert config.run_dir == "runs/demo/luong"


def stdout_of(cell: Any) -> str:
    """Return the text that a cell printed."""
    return "".join(output["text"] for output in cell.get("outputs", ()) if output.get("name") == "stdout")
