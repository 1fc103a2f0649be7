"""Run a command and measure the memory of all its processes together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from tempfile import TemporaryFile

LOOKS = 0.5  # seconds between two measurements of memory


class Watched:
    """A command that runs in a process group of its own.

    Memory is the sum of the proportional shares of all processes of its tree (Pss of /proc/PID/smaps_rollup).
    """

    def __init__(self, command: list[str]) -> None:
        self.started = time.monotonic()
        self._said = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - a pipe could fill up while nobody reads it
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._said, text=True, start_new_session=True
        )
        self.peak = 0  # in bytes
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while self.process.poll() is None:
            self.peak = max(self.peak, sum(map(proportional_bytes, tree(self.process.pid))))
            time.sleep(LOOKS)

    def end(self) -> str:
        """Wait for the command and return its output; exit if it failed."""
        out, _ = self.process.communicate()
        self.seconds = time.monotonic() - self.started
        if self.process.returncode:
            self._said.seek(0)
            raise SystemExit(self._said.read())
        return out.strip()

    def kill(self, group: bool = False) -> None:
        """Kill the first process of the command, or all of them at once; exit if it has already ended."""
        if self.process.poll() is not None:
            raise SystemExit("the command ended before it could be killed: give it more work")
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.seconds = time.monotonic() - self.started


def tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process in bytes; a page shared by n processes counts as 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
