"""Building ahead what a loop will ask for next, in a thread or in processes, in order."""

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

_AHEAD = 8  # items built ahead by a thread
_ATTEMPTS = 3  # to get an item out of processes that die over it


class Task(NamedTuple):
    """What processes are at, for what is said of them."""

    name: str
    items: str
    key: str  # of the configuration, which has their number
    none: int  # its value for no processes
    ahead: int  # items that each is asked for ahead


_BATCHES = Task("training", "batches", "training.workers", none=0, ahead=4)


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
    build: Callable[[Place], Item],
    places: Iterator[Place],
    workers: int,
    say: Callable[[str], None],
    task: Task = _BATCHES,
) -> Generator[Item, None, None]:
    """`build` of every place, in order, by worker processes that end when this iterator is closed.

    Where one dies, that is said, and all are started anew from the item that is waited for. Raises Unfinished when that
    fails again and again, and what `build` raises.
    """
    items = _in_processes(build, places, workers, say, task)
    # At the end of the program, multiprocessing would send SIGTERM to processes left over, and wait for them.
    atexit.register(_close, weakref.ref(items))
    return items


def _in_processes(
    build: Callable[[Place], Item],
    places: Iterator[Place],
    workers: int,
    say: Callable[[str], None],
    task: Task,
) -> Generator[Item, None, None]:
    ahead: deque[Place] = deque()  # the places whose items are to come, the next one first
    failures = 0  # since the last item
    while True:
        crew: list[_Worker[Place, Item]] = []
        try:
            for _ in range(workers):
                crew.append(_Worker(build, crew))
            sent = 0  # of those ahead
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
                    f"processes that build {task.items} die again and again (the last one {death}), perhaps for want "
                    f"of memory: set {task.key} to less than {workers}, or to {task.none} for none"
                ) from None
            say(f"a process that builds {task.items} {death}: all of them are started anew where {task.name} stands")
        finally:
            for worker in crew:
                worker.close()


def _close(reference: weakref.ref[Generator[Item, None, None]]) -> None:
    if (items := reference()) is not None:
        items.close()


class _Died(Exception):
    """How a process ended that should not have."""


class _Worker(Generic[Place, Item]):
    """A process that builds the items of the places that it is sent, in order.

    It has a connection of its own, so that its death is noticed at once and leaves nothing locked or half written for
    the others. Items come as bytes, which takes no shared memory.
    """

    def __init__(self, build: Callable[[Place], Item], others: Sequence[_Worker[Place, Item]]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        inherited = [*(other._connection for other in others), self._connection]
        self._process = multiprocessing.Process(target=_work, args=(build, theirs, inherited), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, place: Place) -> None:
        """Ask for the item of a place."""
        try:
            self._connection.send_bytes(pickle.dumps(place, pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._death() from None

    def receive(self) -> Item:
        """The item of the first place whose item was not received yet; raises what building it raised."""
        try:
            item, error = pickle.loads(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise self._death() from None
        if error is not None:
            raise error
        return cast(Item, item)

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _death(self) -> _Died:
        self.close()
        status = self._process.exitcode or 0
        return _Died(f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")


def _work(build: Callable[[Place], Item], connection: Connection, inherited: Sequence[Connection]) -> None:
    """What a worker does until the other end of its connection is closed, be it by the death of that process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # to the whole group: the parent wants batches until it has saved
        signal.signal(number, signal.SIG_IGN)
    if (torch := sys.modules.get("torch")) is not None:  # not all that is built needs it
        torch.set_num_threads(1)
    for other in inherited:  # the parent's ends, which would stay open here when it dies
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
    """Take places off the connection at once: who sends them must not wait for a process that waits to be read."""
    try:
        while True:
            places.put(connection.recv_bytes())
    except (OSError, EOFError):
        places.put(None)
