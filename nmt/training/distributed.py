"""The processes that train one model together: those that torchrun started, or just this one.

Time limits for everything that can wait (TIMEOUT is ten minutes, PATIENCE ten seconds):

- Finding each other: TIMEOUT, enforced by torch. Some calls of torch have no limit, for example on an open connection
  to a store that was stopped: for these TIMEOUT + PATIENCE (`finding_each_other`).
- Collective operations (sums, gathering, forming the group): TIMEOUT, enforced by torch.
- Work that one process does while the others wait (`on_main`, `in_turn`): as long as that process lives, because it may
  prepare data for hours. If it has not responded for TIMEOUT, all processes end (`Alarm`). If it responds but its work
  never ends, the others wait forever.
- A request to the store: TIMEOUT + PATIENCE after the store's last answer to the alarm.
- Leaving: PATIENCE for the alarm's thread, and, after a failure, for the other processes to notice it;
  TIMEOUT + PATIENCE for torch to destroy the process group.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from nmt.device import is_cuda, takes_several_processes
from nmt.errors import NmtError
from nmt.training.alarm import FAILED, LOST, PATIENCE, Alarm, leave, leave_with, limited

T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)  # how long a collective operation waits for the other processes


class World:
    """The processes of a training, with the operations in which they all take part.

    This class is the World of a single process, and `Processes` that of several. Every process has to call the same
    operations in the same order.
    """

    rank, size = 0, 1

    @property
    def is_main(self) -> bool:
        """True in the main process, which writes files and reports to the user."""
        return self.rank == 0

    def own_device(self, device: torch.device) -> torch.device:
        """Return this process's own device of the given type."""
        return device

    def parallel(self, module: nn.Module) -> nn.Module:
        """Wrap a module: it gets rank 0's weights, and its gradients are averaged over all processes."""
        return module

    def keeping_gradients(self, module: nn.Module) -> AbstractContextManager[None]:
        """Accumulate gradients locally during the block; the next backward pass after it exchanges them all."""
        return nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes in place, and return it; on a GPU, this does not wait for the result."""
        return tensor

    def agree(self, seconds: float, signal: int | None) -> tuple[float, int | None]:
        """Return the elapsed seconds by rank 0's clock, and the signal that any process has received, or None."""
        return seconds, signal

    def gather(self, item: T) -> list[T]:
        """Return the items of all processes, by rank."""
        return [item]

    def on_main(self, work: Callable[[], T]) -> T:
        """Call `work` on rank 0 only, and return its result in all processes, which wait as long as it takes."""
        return work()

    def in_turn(self, work: Callable[[], T]) -> T:
        """Call `work` on rank 0, then on the first process of each machine, then on the others; return its result.

        This way the later processes find the files that rank 0, or the first process on their machine, has written.
        They wait as long as it takes.
        """
        return work()


class Processes(World):
    """Several processes connected by torch.distributed: NCCL between graphics cards, gloo for everything else."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store = PrefixStore("nmt", store)
        self._meetings = 0
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        dist.init_process_group(backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=TIMEOUT)
        # found by host name, not by LOCAL_RANK: several containers may run on one machine, each with its own files
        machine = socket.gethostname()
        is_first_there = self.gather(machine).index(machine) == rank
        self._turn = 0 if self.is_main else 1 if is_first_there else 2

    def own_device(self, device: torch.device) -> torch.device:
        """Return a separate graphics card for each process on a machine; raise NmtError if there are too few."""
        if not takes_several_processes(device):
            raise NmtError("several processes cannot share an mps device: set training.device=cpu")
        if not is_cuda(device):
            return device
        if device.index is not None:
            raise NmtError(
                f"training.device={device} would give all processes the same graphics card: set training.device=cuda, "
                "so that each gets its own"
            )
        local_rank = int(os.environ.get("LOCAL_RANK", 0))  # the number of this process on its machine
        if local_rank >= (cards := torch.cuda.device_count()):
            raise NmtError(
                f"process {local_rank + 1} on {socket.gethostname()} has no graphics card of its own, since there are "
                f"only {cards}: start at most {cards} with torchrun --nproc-per-node, or set training.device=cpu"
            )
        card = torch.device("cuda", local_rank)
        torch.cuda.set_device(card)
        return card

    def parallel(self, module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # broadcast_buffers is about to be renamed. Its replacement still sends buffers at the start, but tables of
            # positions may have grown to different lengths in different processes.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)

    def keeping_gradients(self, module: nn.Module) -> AbstractContextManager[None]:
        return cast(DistributedDataParallel, module).no_sync()

    def sum(self, tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    def agree(self, seconds: float, signal: int | None) -> tuple[float, int | None]:
        news = torch.tensor([seconds if self.is_main else 0.0, signal or 0], dtype=torch.float64)
        dist.all_reduce(news, dist.ReduceOp.MAX)
        seconds, number = news.tolist()
        return seconds, int(number) or None

    def gather(self, item: T) -> list[T]:
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def on_main(self, work: Callable[[], T]) -> T:
        found: list[Any] = [work() if self.is_main else None]
        self._meet()
        dist.broadcast_object_list(found, src=0)
        return cast(T, found[0])

    def in_turn(self, work: Callable[[], T]) -> T:
        for turn in range(3):
            if turn == self._turn:
                found = work()
            self._meet()
        return found

    def _meet(self) -> None:
        """Wait until all processes have called this method, however long it takes.

        No time limit is needed: if a process fails or is gone, the alarm of each waiting process ends that process.
        """
        self._meetings += 1
        meeting = f"meeting {self._meetings}"
        if self._store.add(meeting, 1) == self.size:
            self._store.set(f"{meeting} begins", "")
        self._store.wait([f"{meeting} begins"], timedelta(days=1000))


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes started by torchrun (or with the same environment variables), or yield just this process.

    If one process fails, all end. The failure is reported only once: the first process to fail raises its exception,
    and the others exit with status 1. The exit status of the first is 1 as well (130 after Ctrl-C), whatever its
    program does with the exception. Raises NmtError if the processes do not find each other, or if one is gone.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield World()
        return
    with finding_each_other():
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        torchrun_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        keeps_store = rank == 0 and not torchrun_store
        # torchrun's own store survives a restart of the processes, with all keys from before
        start = f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}" if torchrun_store else "start"
        silence = TIMEOUT.total_seconds()
        alarm = Alarm(PrefixStore(start, store.clone()), rank, size, silence, keeps_store=keeps_store)
    left: SystemExit | None = None
    try:
        with alarm.watched():
            with _reporting_failure_to_meet():
                world = Processes(PrefixStore(start, store), rank, size)
            try:
                yield world
            except SystemExit as stop:  # after a signal, which ends all processes alike
                left = stop
            world.gather(None)  # the process that hosts the store must not leave before the others
    except SystemExit:  # another process was the first to fail, and reports why
        leave()  # at once: the threads of the process group could abort the interpreter during a normal exit
    except BaseException as error:  # for the same reason, at the exit of this process, which reports the error
        atexit.register(leave_with, 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else FAILED)
        raise
    with limited(TIMEOUT.total_seconds() + PATIENCE, LOST):
        dist.destroy_process_group()
    if left is not None:
        raise left


@contextmanager
def finding_each_other(command: str = "nmt-train") -> Iterator[None]:
    """Raise NmtError if the processes do not find each other in the block.

    If the block takes longer than TIMEOUT + PATIENCE without an exception, print an error message of `command` and end
    this process.
    """
    limit = TIMEOUT.total_seconds() + PATIENCE
    sentence = _failure_to_meet(f"no answer for {limit:.0f} seconds: one is stopped or out of reach")
    with limited(limit, sentence, command), _reporting_failure_to_meet():
        yield


@contextmanager
def _reporting_failure_to_meet() -> Iterator[None]:
    """Raise torch's exceptions in the block as NmtError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise NmtError(_failure_to_meet(str(error).strip().partition("\n")[0])) from error


def _failure_to_meet(reason: str) -> str:
    return (
        f"the {os.environ['WORLD_SIZE']} processes of WORLD_SIZE did not find each other ({reason}): start them with "
        "torchrun, or unset WORLD_SIZE"
    )
