"""Calls of commands in forked processes: isolated like new processes, without the seconds of importing torch."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

COMMANDS = ("train", "prepare", "translate", "evaluate", "compare", "align", "average", "export", "shortlist", "study")


class Outcome(NamedTuple):
    """The end of a call."""

    status: int  # the exit status; minus the number of the signal that ended it
    out: str
    err: str
    seconds: float

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because it took too long."""
        return self.status == -signal.SIGXCPU


class Call(NamedTuple):
    """A command and its arguments, ready to be run."""

    command: str  # "translate" for nmt-translate
    arguments: Sequence[str]
    stdin: str = ""
    environment: Mapping[str, str] = {}


def import_commands() -> None:
    """Import everything that the commands need, once for all calls."""
    import ctranslate2  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import sacrebleu  # noqa: F401
    import torch
    import torch._dynamo
    import torch.utils.tensorboard

    torch.set_num_threads(1)
    for command in COMMANDS:
        importlib.import_module(f"nmt.cli.{command}")


def run(call: Call, *, limit: float = 60, before: Callable[[], None] | None = None, kill_at: float = 0) -> Outcome:
    """Run a command in a forked process and return its outcome.

    limit is in seconds. `before` is called in the new process first, to set limits on it. With kill_at, the process and
    its children are killed after so many seconds.
    """
    with TemporaryDirectory(prefix="torture-call-") as folder:
        files = [Path(folder) / name for name in ("in", "out", "err")]
        files[0].write_text(call.stdin, "utf-8")
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_the_command(call, files, before)
        status = _wait(child, begun + (kill_at or limit), signal.SIGKILL if kill_at else signal.SIGXCPU)
        out, err = (file.read_text("utf-8", "replace") if file.exists() else "" for file in files[1:])
        return Outcome(status, out, err, time.monotonic() - begun)


def _be_the_command(call: Call, files: Sequence[Path], before: Callable[[], None] | None) -> None:
    """Become the command: its own process group, its own streams, its exit status."""
    status = 1
    try:
        os.setsid()
        modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
        for descriptor, (file, mode) in enumerate(zip(files, modes, strict=True)):
            os.dup2(os.open(file, mode, 0o600), descriptor)
        for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
            kind = "r" if descriptor == 0 else "w"
            setattr(sys, name, os.fdopen(descriptor, kind, encoding="utf-8", buffering=1, closefd=False))
        os.environ.update(call.environment)
        if before is not None:
            before()
        status = importlib.import_module(f"nmt.cli.{call.command}").main(list(call.arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):  # None if it is closed
                stream.flush()
        except (OSError, ValueError):
            status = status or 1
        finally:
            os._exit(status)  # never on into the code of the parent, whose folders would be cleaned up


def _wait(child: int, deadline: float, end_by: signal.Signals) -> int:
    """Wait for a process, and end it with its children at the deadline; return its exit status as subprocess does."""
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not got as far as making its group
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -end_by
