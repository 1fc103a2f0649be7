"""Threads of a command sleep while they wait; those of a program that imports nmt wait as its author chose."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nmt.cli.waiting import sleep_while_waiting
from tests.toy_run import make_run

ROOT = Path(__file__).resolve().parents[2]
SAY = (
    "import os, sys; "
    "print([os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')], 'torch' in sys.modules)"
)
NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_chose_stays(name: str) -> None:
    environment = {name: "active"}
    assert not sleep_while_waiting(environment)
    assert environment == {name: "active"}


def waits_of(program: str, **chosen: str) -> str:
    """What a program prints that begins with nothing said of how threads wait but what is `chosen`."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | chosen
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commands_set_it_before_torch_is_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    modules = sorted(target.partition(":")[0] for target in scripts.values())
    assert len(modules) >= 9
    assert waits_of(f"import {', '.join(modules)}\n{SAY}") == "['0', '0'] False"
    for module in modules:
        assert module.startswith("nmt.cli."), "importing one of them sets it"


def test_a_program_that_imports_nmt_waits_as_its_author_chose() -> None:
    assert waits_of(f"import nmt, nmt.api, nmt.translate\n{SAY}") == "[None, None] False"


@pytest.mark.parametrize(
    ("chosen", "into", "waits"),
    [
        ({}, [], "['10000', '1']"),
        ({}, ["-o", os.devnull], "['10000', '1']"),
        ({}, ["-i", "in.txt", "-o", "out.txt"], "['0', '0']"),
        ({"GOMP_SPINCOUNT": "0"}, [], "['0', None]"),
    ],
)
def test_answers_to_a_stream_are_searched_by_threads_that_spin_briefly(
    chosen: dict[str, str], into: list[str], waits: str, tmp_path: Path
) -> None:
    """Set before torch is imported, and not where a file is translated as a whole or the user chose otherwise."""
    make_run(tmp_path / "run")
    (tmp_path / "in.txt").write_text("ba de\n", encoding="utf-8")
    place = repr([str(tmp_path / word) if word.endswith(".txt") else word for word in into])
    program = f"""
import nmt.cli.translate, nmt.cli.translate_file
def say(*_):
    {SAY}
    raise SystemExit
nmt.cli.translate.reader_of = nmt.cli.translate_file.translate_file = say
nmt.cli.translate.main([{str(tmp_path / "run")!r}, *{place}])
"""
    assert waits_of(program, **chosen) == f"{waits} False"
