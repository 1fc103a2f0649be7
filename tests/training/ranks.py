"""Start several processes that train one model on this machine, without torchrun."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import pytest

from tests.forked import in_server

ROOT = Path(__file__).parents[2]
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
WAIT = 900  # seconds: the machine may be busy
WAIT_IN_SILENCE = 60  # seconds within which processes notice that one of them, or their store, is silent


class Ended(NamedTuple):
    """The exit status of a process and its output on stderr."""

    status: int
    said: str


def launched(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[Sequence[object]],
    limit: float = WAIT,
    silent: int | None = None,
) -> list[Ended]:
    """Call `main` in one process per list of arguments, forked from one that has imported everything.

    Each has the environment that torchrun would set, and ends with the status that `main` returns. The silent one is
    not waited for: it is killed when the others have ended, so that its status is that of SIGKILL.
    """
    found = in_server(_forked, main, [list(map(str, own)) for own in arguments], free_port(), limit, silent)
    late = [rank for rank, process in enumerate(found) if process.status == -signal.SIGXCPU]
    if late:
        pytest.fail(f"process {late} of {len(found)} had to be ended after {limit:.0f} seconds: {found}")
    return found


def _forked(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[Sequence[str]],
    port: int,
    limit: float,
    silent: int | None,
) -> list[Ended]:
    """Fork the processes of `launched` and wait for them; those that take too long are ended by SIGXCPU."""
    said = [TemporaryFile("w+", encoding="utf-8") for _ in arguments]  # noqa: SIM115 - they end with this call
    children = [_child(main, own, rank, len(arguments), port, said[rank]) for rank, own in enumerate(arguments)]
    deadline = time.monotonic() + limit
    statuses: dict[int, int] = {}
    while len(statuses) < len(children):
        if silent is not None and set(range(len(children))) - set(statuses) == {silent}:
            os.kill(children[silent], signal.SIGKILL)
        for rank, child in enumerate(children):
            if rank not in statuses and (ended := os.waitpid(child, os.WNOHANG))[0]:
                statuses[rank] = os.waitstatus_to_exitcode(ended[1])
            elif rank not in statuses and time.monotonic() > deadline:
                os.kill(child, signal.SIGXCPU)
        time.sleep(0.005)
    for file in said:
        file.seek(0)
    return [Ended(statuses[rank], file.read()) for rank, file in enumerate(said)]


def _child(
    main: Callable[[Sequence[str]], int], own: Sequence[str], rank: int, size: int, port: int, said: IO[str]
) -> int:
    """Fork one of the processes, and return its number."""
    if child := os.fork():
        return child
    status = 1
    try:
        os.dup2(said.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
        os.environ.update(_environment(rank, size, port))
        status = main(own)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


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
    """Start `python -m module` as one process per list of arguments, with the environment that torchrun would set."""
    port = free_port()
    return [start(module, own, rank, len(arguments), port) for rank, own in enumerate(arguments)]


def start(module: str, arguments: Sequence[object], rank: int, size: int, port: int) -> subprocess.Popen[str]:
    """Start one of several processes, which find each other at a port of this machine."""
    environment = {**ALONE, **_environment(rank, size, port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _environment(rank: int, size: int, port: int) -> dict[str, str]:
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    return own | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
