"""Building ahead what a loop will ask for next, in a thread or in processes, in order."""

from __future__ import annotations

import atexit
import queue
import signal
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Item = TypeVar("Item")
Place = TypeVar("Place")

_AHEAD = 8  # items built ahead; of each process, 4


def in_thread(items: Iterator[Item]) -> Generator[Item, None, None]:
    """`items`, taken ahead by a thread that ends when this iterator is closed; errors are raised here."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(_AHEAD)
    closed = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not closed.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=run, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()


def in_processes(
    build: Callable[[Place], Item], places: Iterator[Place], workers: int, pin: bool
) -> Generator[Item, None, None]:
    """`build` of every place, in order, by worker processes that end when this iterator is closed."""
    loader = DataLoader(
        _Built(build),
        sampler=_Endless(places),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD // 2,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # else it would draw from the one that training draws from
    )
    items = (item for item in loader)
    # At the end of the program, multiprocessing would send SIGTERM to processes left over, and wait for them.
    atexit.register(_close, weakref.ref(items))
    return items


def _close(reference: weakref.ref[Generator[Item, None, None]]) -> None:
    if (items := reference()) is not None:
        items.close()


class _Built(Dataset[Item], Generic[Place, Item]):
    def __init__(self, build: Callable[[Place], Item]) -> None:
        self._build = build

    def __getitem__(self, place: Place) -> Item:
        return self._build(place)


class _Endless(Generic[Place]):
    """Places as a sampler, which DataLoader wants to be iterable."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return self._places


def _leave_signals_to_the_parent(_worker: int) -> None:
    """Signals to the whole group, such as Ctrl-C, are the parent's to act on: it wants batches until it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
