"""Tests of commands whose standard streams are closed: they work without them, or say which one they need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt.config.load import save_config
from tests.e2e.conftest import ENVIRONMENT, executable
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
NEEDS_STDOUT = "standard output is closed: "


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with text, a configuration and a run that was trained with every standard stream closed."""
    folder = tmp_path_factory.mktemp("place")
    config = tiny_config(folder, training__keep_last=2)
    save_config(config, folder / "config.yaml")
    ended = call("nmt-train", [folder / "config.yaml"], closed=(0, 1, 2))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (folder / "run" / "checkpoints" / "last").read_text() == "step-0000000006\n"
    return folder


def call(
    name: str, arguments: Sequence[object], closed: Sequence[int], text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an installed command with some of its standard streams closed."""

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    return subprocess.run(
        [executable(name), *map(str, arguments)],
        input=text, capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=close,
        timeout=240,
    )  # fmt: skip


def command(name: str, place: Path) -> list[object]:
    """Return the arguments with which a command prints something."""
    run, texts = place / "run", [place / "text" / f"val.{language}" for language in ("aa", "bb")]
    both = ["--source", texts[0], "--reference", texts[1]]
    return {
        "nmt-train": [place / "config.yaml", "--cfg", "job"],
        "nmt-prepare": [place / "config.yaml"],
        "nmt-translate": [run, "-i", texts[0]],
        "nmt-evaluate": [run, *both],
        "nmt-compare": [run, *both, "-o", place / "report"],
        "nmt-align": [run, "--source", texts[0], "--target", texts[1]],
        "nmt-average": [run, "--force", "--of", "last"],
        "nmt-export": [run],
        "nmt-shortlist": [run],
    }[name]


NAMES = ["nmt-train", "nmt-prepare", "nmt-translate", "nmt-evaluate", "nmt-compare", "nmt-align", "nmt-average",
         "nmt-export", "nmt-shortlist"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_only_a_closed_standard_output_is_missed(name: str, place: Path) -> None:
    ended = call(name, command(name, place), closed=(1,))
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"{name}: error: {NEEDS_STDOUT}")
    assert "Traceback" not in ended.stderr
    ended = call(name, command(name, place), closed=(0, 2))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_a_stream_is_translated_without_standard_error(place: Path) -> None:
    lines = made_up_lines(3, seed=1)
    ended = call("nmt-translate", [place / "run"], (2,), "\n".join(lines) + "\n")
    assert (ended.returncode, ended.stdout.count("\n"), ended.stderr) == (0, 3, "")
    output = place / "translations"
    ended = call("nmt-translate", [place / "run", "-i", place / "text" / "val.aa", "-o", output], (0, 1, 2))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert output.read_text("utf-8").count("\n") == 9


@pytest.mark.parametrize("name", ["nmt-translate", "nmt-evaluate"])
def test_a_closed_standard_input_is_one_sentence(name: str, place: Path) -> None:
    scored = ["--hypothesis", "-", "--reference", place / "text" / "val.bb"]
    ended = call(name, scored if name == "nmt-evaluate" else [place / "run"], closed=(0,))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"{name}: error: standard input is closed: give the file to ")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Check a process that closed the streams itself, so that Python still has objects for them."""
    script = (
        "import os, sys\n"
        "from nmt.cli.common import Parser, run_command\n"
        "from nmt.messages import tell\n"
        "def command(arguments):\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        tell('a message')\n"
        "        os.write(2, b'a message of a library')\n"
        "        file.write(f'{file.fileno() > 2}, {sys.stdin}, {sys.stderr}')\n"
        "os.close(0)\n"
        "os.close(2)\n"
        "sys.exit(run_command(Parser('nmt-x', '', ''), command, []))"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], cwd=ROOT)
    assert ended.returncode == 0
    assert (tmp_path / "file").read_text() == "True, None, None"
