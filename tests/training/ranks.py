"""Start several processes that train one model on this machine, without torchrun."""

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
WAIT_IN_SILENCE = 60  # seconds within which processes notice that one of them, or their store, is silent


class Ended(NamedTuple):
    """The exit status of a process and its output on stderr."""

    status: int
    said: str


def launched(module: str, arguments: Sequence[Sequence[object]], limit: float = WAIT) -> list[Ended]:
    """Run `python -m module` as one process per list of arguments, with the environment that torchrun would set."""
    return ended(started(module, arguments), limit)


def ended(processes: Sequence[subprocess.Popen[str]], limit: float) -> list[Ended]:
    """Wait for processes to end; if one has not ended after `limit` seconds, kill all and fail the test."""
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
    """Start the processes of `launched` without waiting for them."""
    port = free_port()
    return [start(module, own, rank, len(arguments), port) for rank, own in enumerate(arguments)]


def start(module: str, arguments: Sequence[object], rank: int, size: int, port: int) -> subprocess.Popen[str]:
    """Start one of several processes, which find each other at a port of this machine."""
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
