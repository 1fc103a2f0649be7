"""Tests that idle threads of a command spin only briefly, and that importing nmt alone does not change this setting."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nmt.cli.waiting import spin_briefly

ROOT = Path(__file__).resolve().parents[2]
SAY = (
    "import os, sys; "
    "print([os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')], 'torch' in sys.modules)"
)
NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_chose_stays(name: str) -> None:
    environment = {name: "active"}
    spin_briefly(environment)
    assert environment == {name: "active"}


def waits_of(program: str) -> str:
    """Run a program without environment variables about waiting threads and return its output."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commands_set_it_before_torch_is_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    modules = sorted(target.partition(":")[0] for target in scripts.values())
    assert len(modules) >= 9
    assert waits_of(f"import {', '.join(modules)}\n{SAY}") == "['10000', '1'] False"
    for module in modules:
        assert module.startswith("nmt.cli."), "importing one of them sets it"


def test_a_program_that_imports_nmt_waits_as_its_author_chose() -> None:
    assert waits_of(f"import nmt, nmt.api, nmt.inference.translator\n{SAY}") == "[None, None] False"
