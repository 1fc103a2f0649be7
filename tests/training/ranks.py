"""Several processes that train one model, started by hand on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
WAIT = 900  # seconds: the machine may be busy
WAIT_IN_SILENCE = 60  # seconds in which processes notice that one of them, or their store, is silent


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    said: str


def launched(module: str, arguments: Sequence[Sequence[object]], limit: float = WAIT) -> list[Ended]:
    """`python -m module` as one process for each list of arguments, with the environment that torchrun would set."""
    return ended(started(module, arguments), limit)


def ended(processes: Sequence[subprocess.Popen[str]], limit: float) -> list[Ended]:
    """How these end; where one of them has not after `limit` seconds, all are killed and the test fails."""
    deadline = time.monotonic() + limit
    late = []
    said = []
    try:
        for rank, process in enumerate(processes):
            try:
                said.append(process.communicate(timeout=max(0.0, deadline - time.monotonic()))[1])
            except subprocess.TimeoutExpired:
                process.kill()
                late.append(rank)
                said.append(process.communicate()[1])
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if late:
        pytest.fail(f"process {late} of {len(processes)} had to be killed after {limit:.0f} seconds; they said: {said}")
    return [Ended(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def started(module: str, arguments: Sequence[Sequence[object]]) -> list[subprocess.Popen[str]]:
    """The processes of `launched`, which nobody waits for."""
    port = free_port()
    return [start(module, own, rank, len(arguments), port) for rank, own in enumerate(arguments)]


def start(module: str, arguments: Sequence[object], rank: int, size: int, port: int) -> subprocess.Popen[str]:
    """One process of several, which meet at a port of this machine."""
    environment = {
        **ALONE, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
