"""Work in processes of their own, several side by side, whose failures do not end the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nmt.errors import NmtError, is_out_of_memory
from nmt.files import make_folder

# What a new process imports: nmt.cli first, because it has to precede torch, and last what a training imports late.
_NEEDED = ["nmt.cli", "nmt.study.work", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.figure"]


@dataclass(frozen=True)
class Task:
    """A function to call in a process of its own; the process writes its messages to the file `log`."""

    name: str
    function: Callable[..., Any]
    arguments: Sequence[Any]
    log: Path


@dataclass(frozen=True)
class Failure:
    """The reason for which a task has no result, as a sentence."""

    sentence: str


Begun = Callable[[Task], None]  # called with each task that starts
Carry = Callable[[Sequence[Task], int, Begun], Iterator[tuple[Task, Any]]]  # runs tasks, at most so many at a time


def default_context() -> BaseContext:
    """Return how processes start: forked from a process that has imported everything but computed nothing, if possible.

    A process that has computed with several threads, or has used CUDA, must not be forked.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_NEEDED)
    return context


def in_processes(context: BaseContext, tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
    """Run tasks, at most `jobs` at a time, and yield each with its result, or a Failure, when it ends.

    `begun` is called when a task starts. If the caller stops early, the running tasks are asked to end (SIGTERM) and
    are waited for; a training saves a checkpoint first. If this process is killed, they end in the same way.
    """
    waiting = list(reversed(tasks))
    running: dict[Connection, tuple[Task, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                begun(task)
                connection, process = _start(task, context)
                running[connection] = task, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                task, process = running.pop(ready)
                yield task, _result(ready, process, task)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _start(task: Task, context: BaseContext) -> tuple[Connection, BaseProcess]:
    make_folder(task.log.parent)
    ours, theirs = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(target=_work, args=(task, theirs), name=task.name)  # type: ignore[attr-defined]
    process.start()
    theirs.close()  # so that the end of the process is the end of what can be read
    return ours, process


def _result(connection: Connection, process: BaseProcess, task: Task) -> Any:
    try:
        result = connection.recv()
    except EOFError:
        process.join()
        status = process.exitcode or 0
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        result = Failure(f"its process {how} (see {task.log})")
    process.join()
    connection.close()
    return result


def _work(task: Task, connection: Connection) -> None:
    """Call the function of a task in this new process, and send its result, or the reason why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process by SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(SystemExit):  # ended by a signal, as a training is: the parent has asked for it
        connection.send(result_of(task))


def result_of(task: Task) -> Any:
    """Return the result of a task, or the reason why there is none, as a Failure.

    From now on, this process writes its messages to the log of the task.
    """
    file = task.log.open("a", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):
        os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = file
    try:
        return task.function(*task.arguments)
    except NmtError as error:
        print(error, flush=True)
        return Failure(str(error))
    except Exception as error:
        traceback.print_exc()
        told = "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}".splitlines()[0]
        return Failure(f"{told} (see {task.log})")


def _end_with_parent() -> None:
    """Wait until the parent has ended, however it did, and end this process as SIGTERM does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
