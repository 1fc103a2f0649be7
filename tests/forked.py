"""Commands in processes forked from one that has imported everything: isolated, without the seconds of a start."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.torture.calls import Call, Outcome, import_commands, run

T = TypeVar("T")


@cache
def _server() -> ProcessPoolExecutor:
    """Start the process that forks; this one may have threads, which a fork does not survive."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), import_commands)


def in_server(function: Callable[..., T], *arguments: object) -> T:
    """Return the result of a function, called in the process that forks, which has imported everything."""
    return _server().submit(function, *arguments).result()


def status_of(function: Callable[..., object], *arguments: object) -> int:
    """Call a function in a forked process; return the exit status, or minus the signal that ended the process."""
    return in_server(_status_of, function, *arguments)


def _status_of(function: Callable[..., object], *arguments: object) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            function(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_server() -> None:
    """End the process that forks, so that tests which count the children of this one do not find it."""
    _server().shutdown()
    _server.cache_clear()


def forked(
    name: str,
    arguments: Sequence[object],
    text: str = "",
    *,
    closed: Sequence[int] = (),
    limit: tuple[int, int] | None = None,
    stdout: str | None = None,
    first: Callable[[], None] | None = None,
) -> Outcome:
    """Run a command such as nmt-train on the input `text`, and return its outcome.

    `closed` are standard streams that it does not have, `limit` is a limit of resources such as (RLIMIT_FSIZE, 100),
    `stdout` is a file to which its output goes, and `first` is called in the process before the command.
    """
    call = Call(name.removeprefix("nmt-"), list(map(str, arguments)), text)
    with TemporaryDirectory(prefix="forked-") as folder:
        messages = Path(folder) / "messages"  # a pipe: a limit of the size of files would hold for them, too
        os.mkfifo(messages)
        with os.fdopen(os.open(messages, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as said:
            before = partial(_prepare, closed, limit, stdout, first, messages)
            outcome = _server().submit(run, call, limit=240, before=before).result()
            os.set_blocking(said.fileno(), True)  # a process that the command has started may end a little later
            return outcome._replace(err=said.read())


def _prepare(
    closed: Sequence[int],
    limit: tuple[int, int] | None,
    stdout: str | None,
    first: Callable[[], None] | None,
    messages: Path,
) -> None:
    if first is not None:
        first()
    os.dup2(os.open(messages, os.O_WRONLY), 2)
    if stdout is not None:
        os.dup2(os.open(stdout, os.O_WRONLY), 1)
    for descriptor in closed:
        os.close(descriptor)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # too large a file then raises an error instead of a signal
        resource.setrlimit(limit[0], (limit[1], limit[1]))
