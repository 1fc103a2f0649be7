"""The short form of the torture, in a process of its own.

Its trials fork, and a process that has run other tests has threads of libraries, which a fork does not survive.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_short_form_of_the_torture_passes(tmp_path: Path) -> None:
    trials = Path(__file__).with_name("short.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'trials'}"]
    done = subprocess.run([*command, str(trials)], capture_output=True, text=True, timeout=900, cwd=trials.parents[2])
    assert done.returncode == 0, done.stdout[-10_000:]
    assert "4 passed" in done.stdout or "...." in done.stdout
