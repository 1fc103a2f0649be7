"""Translation of one file, split into shards, by several processes: workers on this machine or torchrun's ranks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, NamedTuple

from nmt.cli.common import several_processes
from nmt.cli.translate.answers import answers, load_translator
from nmt.cli.translate.counting import Counter
from nmt.cli.translate.options import reader_of
from nmt.data.compression import reading
from nmt.errors import NmtError
from nmt.extras import import_extra
from nmt.inference.engines.engine import choose_engine
from nmt.inference.shards import Shards

if TYPE_CHECKING:
    from nmt.inference.translator import Translator

Interruptible = Callable[[], AbstractContextManager[None]]

_LOOK = 0.2  # seconds between two checks of the workers' progress
_LOADING = -1  # a worker's count of lines while it is still loading the model


def translate_shards(
    shards: Shards, arguments: Namespace, translator: Translator, counter: Counter, interruptible: Interruptible
) -> None:
    """Translate shards until every shard is finished or taken by another process.

    `interruptible` returns a context in which Ctrl-C or SIGTERM stops the work.
    """
    reader = reader_of(arguments)
    with reading(shards.source) as file:
        for index in shards.unfinished():
            if not shards.take(index):  # another process translates this shard
                continue
            first_line = index * shards.size + 1
            with interruptible():
                lines = [reader.line(raw, first_line + place) for place, raw in enumerate(shards.read(file, index))]
                written = answers(translator, lines, first_line, arguments, counter.batch)
            shards.write(index, written)
            counter.block(len(lines))


def in_workers(
    shards: Shards, arguments: Namespace, reach: Callable[[int], None], interruptible: Interruptible
) -> None:
    """Translate all shards with worker processes that share this machine's cores or GPUs.

    `reach` is called with the number of lines translated so far, for the progress display. If this process ends, for
    whatever reason, the workers end, too. An exception in a worker is raised again here; if a worker dies without an
    exception, NmtError is raised.
    """
    context = multiprocessing.get_context("spawn")
    count = min(arguments.workers, len(shards.unfinished()))
    before, done = shards.finished_lines(), context.RawArray("q", [_LOADING] * count)  # lines done by each worker
    crew: dict[int, tuple[SpawnProcess, Connection]] = {}
    try:
        for number in range(count):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(number, count, shards, arguments, done, theirs))
            process.start()
            theirs.close()
            crew[process.sentinel] = process, ours
        waiting = list(crew)
        with interruptible():
            while waiting:
                for ended in set(waiting).intersection(wait(waiting, _LOOK)):
                    _check(*crew[ended])
                    waiting.remove(ended)
                if max(done) > _LOADING:
                    reach(before + sum(max(0, lines) for lines in done))
    finally:
        for process, connection in crew.values():
            process.kill()
            process.join()
            connection.close()


def _check(process: SpawnProcess, connection: Connection) -> None:
    """Raise the exception that ended a worker, or NmtError if the worker was killed."""
    process.join()
    if status := process.exitcode:
        try:
            raise connection.recv()
        except EOFError:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise NmtError(f"a worker process {how}, perhaps because memory ran out: try fewer --workers") from None


def _work(number: int, count: int, shards: Shards, arguments: Namespace, done: Any, connection: Connection) -> None:
    """Translate shards in worker `number` of `count`; an exception is sent to the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, but the parent ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _share_cores(arguments, count)
        translator = load_translator(with_own_device(arguments, number))
        counter = Counter(partial(done.__setitem__, number))
        translate_shards(shards, arguments, translator, counter, nullcontext)
    except Exception as error:
        error.add_note(traceback.format_exc())  # pickling drops the traceback
        connection.send(error)
        sys.exit(1)


def _share_cores(arguments: Namespace, count: int) -> None:
    """Limit this process to an equal share of the cores among `count` workers."""
    if choose_engine(arguments.engine, arguments.precision) == "ctranslate2":
        from nmt.inference.engines.ctranslate2 import available_threads

        os.environ["OMP_NUM_THREADS"] = str(max(1, available_threads() // count))
        return
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // count))


def _end_with_parent() -> None:
    """Wait until the parent process ends, then end this process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def with_own_device(arguments: Namespace, number: int) -> Namespace:
    """Return the options of process `number` on this machine; if there are several GPUs, each process gets one."""
    if arguments.device not in ("auto", "cuda"):
        return arguments
    if choose_engine(arguments.engine, arguments.precision) == "ctranslate2":
        cards = import_extra("ctranslate2", "fast").get_cuda_device_count()
    else:
        import torch

        cards = torch.cuda.device_count()
    return arguments if cards < 2 else Namespace(**vars(arguments) | {"device": f"cuda:{number % cards}"})


class Job(NamedTuple):
    """The work that the first rank divides among all ranks."""

    shards: Shards
    checkpoints: list[str]  # the name of the checkpoint's folder, for each run


class Ranks:
    """The processes that torchrun started, on one machine or several with a shared file system; else this one alone."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.count = int(os.environ["WORLD_SIZE"]) if several_processes() else 1
        self._group: Any = None

    def meet(self) -> None:
        """Connect to torchrun's other processes; `share` must be called afterwards, because it ends the connection.

        Raises NmtError if the processes do not find each other.
        """
        if self.count == 1:
            return
        import torch.distributed as dist

        from nmt.training.distributed import TIMEOUT, finding_each_other

        with finding_each_other("nmt-translate"), _mortal():
            dist.init_process_group("gloo", timeout=TIMEOUT)
            self._group = dist.new_group(timeout=timedelta(days=1))  # rank 0 may take long to read a large file

    def share(self, job: Job | None, asked: Mapping[str, Any]) -> Job | None:
        """Broadcast the job of rank 0 and return it in every rank; None if rank 0 has none.

        `asked` holds the options of this process. If they differ between ranks, or if a rank does not see the folder of
        the shards, rank 0 raises NmtError and all other ranks return None.
        """
        if self.count == 1:
            return job
        import torch.distributed as dist

        from nmt.training.agreement import describe_differences

        given: list[Job | None] = [job]
        answers: list[Any] = [None] * self.count
        try:
            with _mortal():
                dist.broadcast_object_list(given, group=self._group)
                sees = given[0] is None or given[0].shards.folder.is_dir()
                dist.all_gather_object(answers, (sees, dict(asked)), group=self._group)
        finally:
            dist.destroy_process_group()
        blind = ", ".join(str(rank) for rank, (sees, _) in enumerate(answers) if not sees)
        different = describe_differences([theirs for _, theirs in answers])
        if not blind and not different:
            return given[0]
        if job is not None:
            raise NmtError(
                f"the processes of this command were not started alike ({different}): give all of them the same options"
                if different
                else f"rank {blind} does not see {job.shards.folder}: all machines need a shared file system"
            )
        return None


@contextmanager
def _mortal() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once; Python's own handlers would not run while torch waits."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
