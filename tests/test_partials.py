"""Tests of the removal of what killed processes left half written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmt import partials
from nmt.files import atomic_directory, atomic_write
from nmt.partials import delete_leftovers, partial_of
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.average import take_average
from nmt.training.checkpoint import delete_others, save_checkpoint
from tests.toy_run import make_run, toy_model

ROOT = Path(__file__).resolve().parents[1]
HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from nmt.files import atomic_directory, atomic_write\n"
    "with atomic_write(sys.argv[1]), atomic_directory(sys.argv[2]):\n"
    "    print('writing', flush=True)\n"
    "    time.sleep(600)\n"
)


def writing(folder: Path) -> subprocess.Popen[str]:
    """Start a process that is writing the file `file` and the folder `folder`."""
    command = [sys.executable, "-c", HOLD, str(folder / "file"), str(folder / "folder")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def write(folder: Path) -> None:
    with atomic_write(folder / "file") as file:
        file.write("whole")
    with atomic_directory(folder / "folder") as made:
        (made / "text").write_text("whole")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    with writing(tmp_path) as process:
        left = names(tmp_path)
        assert len(left) == 2
        write(tmp_path)
        assert names(tmp_path) == left | {"file", "folder"}, "the process lives"
        process.kill()
    write(tmp_path)
    assert names(tmp_path) == {"file", "folder"}


def test_only_the_leftovers_of_this_name_and_machine_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    gone = [f".file.{dead.stdout.strip()}.partial", ".file.ab_3defg.partial", f".file.{2**70}.partial"]
    stays = [".file.partial", ".other.ab_3defg.partial", f".file.{os.getpid()}.partial", ".file.notes"]
    with monkeypatch.context() as patch:
        patch.setattr(partials, "_HOST", "0123abcd")
        stays.append(partial_of(tmp_path / "file").name)
    for name in (*gone, *stays):
        (tmp_path / name).touch()
    delete_leftovers(tmp_path, lambda name: name == "file")
    assert names(tmp_path) == set(stays)


def test_a_training_tidies_up_after_a_killed_average(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    checkpoints = run / "checkpoints"
    (checkpoints / ".averaged-0000000012.ab_3defg.partial").mkdir()
    (checkpoints / f".averaged-0000000011.{os.getpid()}.partial").mkdir()
    save_checkpoint(run, 13, toy_model("transformer-post"), {})
    delete_others(run, [13])
    assert names(checkpoints) == {
        "best", "last", "step-0000000013", f".averaged-0000000011.{os.getpid()}.partial"
    }  # fmt: skip


def test_an_average_tidies_up_after_a_killed_average_of_other_steps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "checkpoints" / ".averaged-0000000011.ab_3defg.partial").mkdir()
    take_average(run, load_weights(run)[0], [12])
    assert names(run / "checkpoints") == {"averaged", "averaged-0000000012", "best", "last", "step-0000000012"}
    assert find_checkpoint(run).averaged
