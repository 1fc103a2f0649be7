"""The processes that train one model together: those that torchrun started, or just this one.

How long anything here may wait (TIMEOUT is ten minutes, PATIENCE ten seconds):

- To find each other: TIMEOUT, which torch keeps. Where a call of torch knows no limit, as on a connection to a store
  that has stopped, TIMEOUT + PATIENCE (`finding_each_other`).
- What all do together (sums, gathering, the forming of the group): TIMEOUT, which torch keeps.
- What one process does alone (`on_main`, `in_turn`): as long as that process lives, since it may prepare data for
  hours. One that has not been heard of for TIMEOUT ends all (`Alarm`); one that is heard of and never comes to an end
  is waited for without end.
- An answer of the store: TIMEOUT + PATIENCE after the last answer that the alarm has had.
- To leave: PATIENCE for the alarm's thread, and after a failure for those that are to hear of it; TIMEOUT + PATIENCE
  for torch to take the group down.
"""

from __future__ import annotations

import os
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
from nmt.training.alarm import LOST, PATIENCE, Alarm, leave, limited

T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)  # for which a process waits for the others in what all of them do


class World:
    """All processes of a training: here one, which does alone what several do together.

    What all take part in, each calls, in the same order.
    """

    rank, size = 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, and tells the user."""
        return self.rank == 0

    def own_device(self, device: torch.device) -> torch.device:
        """This process's device of that type."""
        return device

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with rank 0's weights, whose gradients are the mean over all processes."""
        return module

    def keeping_gradients(self, module: nn.Module) -> AbstractContextManager[None]:
        """During the block a `parallel` module adds up gradients of its own, for the next backward pass outside."""
        return nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in the place of the tensor; on a GPU, without waiting for it."""
        return tensor

    def agree(self, seconds: float, signal: int | None) -> tuple[float, int | None]:
        """The time by rank 0's clock, and a signal that any process has received."""
        return seconds, signal

    def gather(self, item: T) -> list[T]:
        """The items of all processes, by rank."""
        return [item]

    def on_main(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, which alone does it, however long it takes."""
        return work()

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work` done by rank 0, then by the first process of each machine, then by the others.

        So what rank 0, or else the first on a machine, makes and stores the others find, however long it takes.
        """
        return work()


class Processes(World):
    """Several processes, joined by torch.distributed: NCCL between graphics cards, gloo for everything else."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store = PrefixStore("nmt", store)
        self._meetings = 0
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        dist.init_process_group(backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=TIMEOUT)
        # LOCAL_RANK is no guide to who is first on a machine: containers on one machine have a name each
        machine = socket.gethostname()
        is_first_there = self.gather(machine).index(machine) == rank
        self._turn = 0 if self.is_main else 1 if is_first_there else 2

    def own_device(self, device: torch.device) -> torch.device:
        """A graphics card for each process of a machine; raises NmtError where there are too few."""
        if not takes_several_processes(device):
            raise NmtError("several processes cannot share an mps device: set training.device=cpu")
        if not is_cuda(device):
            return device
        if device.index is not None:
            raise NmtError(
                f"training.device={device} is one card for all processes: with training.device=cuda each has its own"
            )
        local_rank = int(os.environ.get("LOCAL_RANK", 0))  # counted on each machine
        if local_rank >= (cards := torch.cuda.device_count()):
            raise NmtError(
                f"process {local_rank + 1} of {socket.gethostname()} finds {cards} graphics cards there: "
                f"start no more than {cards} by torchrun --nproc-per-node, or set training.device=cpu"
            )
        card = torch.device("cuda", local_rank)
        torch.cuda.set_device(card)
        return card

    def parallel(self, module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # The keyword is about to be renamed; what takes its place still sends buffers at the start, and tables of
            # positions may have grown to different lengths.
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
        """Wait for all processes, as long as it takes: the alarm ends what waits for one that is gone."""
        self._meetings += 1
        meeting = f"meeting {self._meetings}"
        if self._store.add(meeting, 1) == self.size:
            self._store.set(f"{meeting} begins", "")
        self._store.wait([f"{meeting} begins"], timedelta(days=1000))


@contextmanager
def joined() -> Iterator[World]:
    """The processes that torchrun, or whoever sets the same environment variables, has started; or just this one.

    A failure in one of them ends all, and is told once: by an exception in the first to fail; the others end with
    status 1. Raises NmtError where they don't find each other, and where one of them is gone.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield World()
        return
    with finding_each_other():
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        of_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        keeps_store = rank == 0 and not of_agent
        # torchrun's own store outlives a restart, with all that was said in it before
        start = f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}" if of_agent else "start"
        silence = TIMEOUT.total_seconds()
        alarm = Alarm(PrefixStore(start, store.clone()), rank, size, silence, keeps_store=keeps_store)
    left: SystemExit | None = None
    try:
        with alarm.watched():
            with _telling_of_strangers():
                world = Processes(PrefixStore(start, store), rank, size)
            try:
                yield world
            except SystemExit as stop:  # as all do, after a signal
                left = stop
            world.gather(None)  # whoever keeps the store leaves no sooner than the others
    except SystemExit:  # another process was the first to fail, and tells why
        leave()  # at once: a group that is not taken down has threads that could abort the interpreter as it ends
    with limited(TIMEOUT.total_seconds() + PATIENCE, LOST):
        dist.destroy_process_group()
    if left is not None:
        raise left


@contextmanager
def finding_each_other(command: str = "nmt-train") -> Iterator[None]:
    """Raise NmtError where the processes that are to meet in the block don't.

    Where it takes longer than TIMEOUT, and no exception comes, this process ends with a sentence of `command`.
    """
    limit = TIMEOUT.total_seconds() + PATIENCE
    sentence = _strangers(f"no answer for {limit:.0f} seconds: one is stopped or out of reach")
    with limited(limit, sentence, command), _telling_of_strangers():
        yield


@contextmanager
def _telling_of_strangers() -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise NmtError(_strangers(str(error).strip().partition("\n")[0])) from error


def _strangers(reason: str) -> str:
    return (
        f"the {os.environ['WORLD_SIZE']} processes of WORLD_SIZE did not find each other ({reason}): start them with "
        "torchrun, or unset WORLD_SIZE"
    )
