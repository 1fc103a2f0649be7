"""Threads of a command sleep while they wait; those of a program that imports nmt wait as its author chose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nmt.cli.waiting import sleep_while_waiting

NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_chose_stays(name: str) -> None:
    environment = {name: "active"}
    sleep_while_waiting(environment)
    assert environment == {name: "active"}


@pytest.mark.parametrize(("imported", "expected"), [("nmt.cli.train", ["0", "0"]), ("nmt, nmt.api", [None, None])])
def test_commands_set_it_before_torch_is_there(imported: str, expected: list[str | None]) -> None:
    program = (
        f"import sys, {imported}, os; "
        "print([os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{expected} False"
