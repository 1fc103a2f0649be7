"""A command with its memory looked at: that of all its processes together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

LOOKS = 0.5  # seconds between two looks at memory


class Watched:
    """A command that runs in a process group of its own.

    Memory is the sum over the process tree of each process's proportional share (Pss of /proc/PID/smaps_rollup).
    """

    def __init__(self, command: list[str]) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.peak = 0  # bytes
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while self.process.poll() is None:
            self.peak = max(self.peak, sum(map(proportional_bytes, tree(self.process.pid))))
            time.sleep(LOOKS)

    def end(self) -> str:
        """Wait for it; what it printed. Ends this program where it failed."""
        out, err = self.process.communicate()
        self.seconds = time.monotonic() - self.started
        if self.process.returncode:
            raise SystemExit(err)
        return out.strip()

    def kill(self, group: bool = False) -> None:
        """Kill its first process, or all of them at once. Ends this program where they have ended before."""
        if self.process.poll() is not None:
            raise SystemExit("the command ended before it was to be killed: give it more to do")
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.seconds = time.monotonic() - self.started


def tree(pid: int) -> list[int]:
    """A process and those that it started, and those that they started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def proportional_bytes(pid: int) -> int:
    """Memory of a process: pages that several share count in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
