"""Iterators that build the next items ahead of the loop that uses them, in a thread or in worker processes."""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import queue
import signal
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count, islice
from multiprocessing.connection import Connection
from typing import Generic, NamedTuple, TypeVar, cast

from nmt.errors import Unfinished

Item = TypeVar("Item")
Place = TypeVar("Place")

_AHEAD = 8  # items that a thread builds ahead
_ATTEMPTS = 3  # attempts to build an item before giving up, if processes die


class Task(NamedTuple):
    """The purpose of worker processes, in words for messages, and how far they work ahead."""

    name: str  # such as training
    items: str  # the things they build, such as batches
    key: str  # the configuration key that sets the number of processes
    none: int  # the value of that key for no processes
    ahead: int  # items that each process is asked for ahead


_BATCHES = Task("training", "batches", "training.workers", none=0, ahead=4)


def in_thread(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield `items`, which a thread takes ahead until this iterator is closed; errors in the thread are raised here."""
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
    build: Callable[[Place], Item],
    places: Iterator[Place],
    workers: int,
    say: Callable[[str], None],
    task: Task = _BATCHES,
) -> Generator[Item, None, None]:
    """Yield `build(place)` for every place, in order, computed by worker processes that end with this iterator.

    If a process dies, `say` is called with a message and all processes are restarted at the item that is needed next.
    Raises Unfinished if this fails several times in a row. Exceptions of `build` are raised here.
    """
    items = _in_processes(build, places, workers, say, task)
    # end the workers at exit: multiprocessing would send them SIGTERM, which they ignore, and then wait for them
    atexit.register(_close, weakref.ref(items))
    return items


def _in_processes(
    build: Callable[[Place], Item],
    places: Iterator[Place],
    workers: int,
    say: Callable[[str], None],
    task: Task,
) -> Generator[Item, None, None]:
    ahead: deque[Place] = deque()  # the places whose items have not been received, the next one first
    failures = 0  # deaths since the last item was received
    while True:
        crew: list[_Worker[Place, Item]] = []
        try:
            for _ in range(workers):
                crew.append(_Worker(build, crew))
            sent = 0  # how many of the places in `ahead` have been sent to a worker
            for turn in count():
                ahead.extend(islice(places, workers * task.ahead - len(ahead)))
                for place in islice(ahead, sent, None):
                    crew[(turn + sent) % workers].send(place)
                    sent += 1
                if not ahead:
                    return
                item = crew[turn % workers].receive()
                ahead.popleft()
                sent -= 1
                failures = 0
                yield item
        except _Died as death:
            failures += 1
            if failures == _ATTEMPTS:
                raise Unfinished(
                    f"the processes that build {task.items} keep dying (the last one {death}), perhaps because memory "
                    f"runs out: set {task.key} to less than {workers}, or to {task.none} for no processes"
                ) from None
            say(f"a process that builds {task.items} {death}: {task.name} continues after restarting all of them")
        finally:
            for worker in crew:
                worker.close()


def _close(reference: weakref.ref[Generator[Item, None, None]]) -> None:
    if (items := reference()) is not None:
        items.close()


class _Died(Exception):
    """The unexpected end of a worker process; the message says how it ended."""


class _Worker(Generic[Place, Item]):
    """A process that receives places and builds their items, in order.

    Each process has its own connection, so that its death is noticed at once and cannot leave a lock or a half-written
    item for the others. Items are sent as bytes, which needs no shared memory.
    """

    def __init__(self, build: Callable[[Place], Item], others: Sequence[_Worker[Place, Item]]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        inherited = [*(other._connection for other in others), self._connection]
        self._process = multiprocessing.Process(target=_work, args=(build, theirs, inherited), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, place: Place) -> None:
        """Request the item of a place."""
        try:
            self._connection.send_bytes(pickle.dumps(place, pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._death() from None

    def receive(self) -> Item:
        """Return the next item, in the order of the places sent; raises the exception that building it raised."""
        try:
            item, error = pickle.loads(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise self._death() from None
        if error is not None:
            raise error
        return cast(Item, item)

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _death(self) -> _Died:
        self.close()
        status = self._process.exitcode or 0
        return _Died(f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")


def _work(build: Callable[[Place], Item], connection: Connection, inherited: Sequence[Connection]) -> None:
    """Run a worker: build items until the other end of its connection is closed, possibly by the parent's death."""
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach the whole group, but the parent still needs batches
        signal.signal(number, signal.SIG_IGN)
    if (torch := sys.modules.get("torch")) is not None:  # not imported just for this: not every task uses torch
        torch.set_num_threads(1)
    for other in inherited:  # the parent's ends: open copies here would hide the parent's death
        other.close()
    places: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(connection, places), daemon=True).start()
    while (place := places.get()) is not None:
        answer: tuple[Item | None, Exception | None]
        try:
            answer = build(pickle.loads(place)), None
        except Exception as error:
            error.add_note(traceback.format_exc())  # a traceback isn't sent
            answer = None, error
        try:
            connection.send_bytes(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
        except OSError:
            return


def _take(connection: Connection, places: queue.SimpleQueue[bytes | None]) -> None:
    """Move places from the connection to a queue at once.

    Otherwise the parent could block while it sends a place, and this process while it sends an item to the parent.
    """
    try:
        while True:
            places.put(connection.recv_bytes())
    except (OSError, EOFError):
        places.put(None)
