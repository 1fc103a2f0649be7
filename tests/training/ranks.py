"""Several processes that train one model, started by hand on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
WAIT = 900  # seconds: the machine may be busy


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    said: str


def launched(module: str, arguments: Sequence[Sequence[object]]) -> list[Ended]:
    """`python -m module` as one process for each list of arguments, with the environment that torchrun would set."""
    processes = started(module, arguments)
    try:
        said = [process.communicate(timeout=WAIT)[1] for process in processes]
        return [Ended(process.returncode, text) for process, text in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def started(module: str, arguments: Sequence[Sequence[object]]) -> list[subprocess.Popen[str]]:
    """The processes of `launched`, which nobody waits for."""
    processes = []
    port = free_port()
    for rank, own in enumerate(arguments):
        environment = {
            **ALONE, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(arguments)),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", module, *map(str, own)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    return processes


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
