"""Test worker processes that die: they are replaced without any effect on the items, up to a number of attempts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nmt.data.batching import Updates
from nmt.data.prefetch import in_processes
from nmt.errors import ConfigError, NmtError
from tests.data.test_batching import make_store, same, take

pytestmark = pytest.mark.usefixtures("no_server")


@pytest.fixture(scope="module")
def updates(tmp_path_factory: pytest.TempPathFactory) -> Updates:
    lengths = np.random.default_rng(0).integers(2, 30, (400, 2)).tolist()
    return Updates(make_store(tmp_path_factory.mktemp("prefetch") / "store", lengths), 300, 120, workers=2)


def kill(number: int) -> None:
    """Kill one of the worker processes, as the system does when memory runs out."""
    worker = sorted(multiprocessing.active_children(), key=lambda process: process.pid or 0)[number]
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()


@pytest.mark.parametrize(
    "deaths", [[(0, 0)], [(7, 0)], [(7, 1)], [(3, 1), (3, 0)], [(n, n % 2) for n in range(1, 30, 5)]]
)
def test_a_killed_worker_changes_nothing_about_the_updates(updates: Updates, deaths: list[tuple[int, int]]) -> None:
    length = len(updates.epoch(0)) + 20
    expected = take(Updates(updates.store, 300, 120), length)
    said: list[str] = []
    found = []
    with closing(updates.iterate(say=said.append)) as iterator:  # type: ignore[type-var]
        for turn, update in enumerate(iterator):
            found.append(update)
            for number in [worker for at, worker in deaths if at == turn]:
                kill(number)
            if len(found) == length:
                break
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert {
        "a process that builds batches was killed by SIGKILL: training continues after restarting all of them"
    } == set(said)
    assert len(said) == len({at for at, _ in deaths})
    assert not multiprocessing.active_children()


def die(number: int) -> int:
    os._exit(number)


def test_workers_that_die_at_once_are_given_up() -> None:
    said: list[str] = []
    with pytest.raises(
        NmtError, match=r"keep dying \(the last one ended with status 7\).*training\.workers to less than 3"
    ):
        next(in_processes(die, iter([7] * 9), 3, said.append))
    assert len(said) == 2
    assert not multiprocessing.active_children()


def die_twice(place: tuple[Path, int]) -> int:
    folder, number = place
    if number == 5 and len(list(folder.iterdir())) < 2:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_two_deaths_over_one_item_are_survived(tmp_path: Path) -> None:
    said: list[str] = []
    assert list(in_processes(die_twice, ((tmp_path, number) for number in range(12)), 2, said.append)) == [*range(12)]
    assert len(said) == 2


def enlarge(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows.repeat(4)


def test_items_and_places_larger_than_what_a_connection_holds() -> None:
    places = (np.full(200_000, number) for number in range(20))
    for number, item in enumerate(in_processes(enlarge, places, 2, pytest.fail)):
        assert item.shape == (800_000,) and (item == number).all()
    assert number == 19


def refuse(number: int) -> int:
    if number == 2:
        raise ConfigError("broken")
    return number


def test_what_building_raises_is_raised_in_its_turn() -> None:
    items = in_processes(refuse, count(), 2, pytest.fail)
    assert list(islice(items, 2)) == [0, 1]
    with pytest.raises(ConfigError, match="broken") as caught:
        next(items)
    assert "in refuse" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_closing_does_not_wait_for_work_that_is_under_way() -> None:
    ready = threading.Event()

    def places() -> Iterator[float]:
        yield 0
        ready.set()
        yield from [3600.0] * 9

    with closing(in_processes(sleep, places(), 2, pytest.fail)) as items:
        assert next(items) == 0
        assert ready.is_set()
    assert not multiprocessing.active_children()


def sleep(seconds: float) -> float:
    threading.Event().wait(seconds)
    return seconds


@pytest.mark.parametrize(("end", "status"), [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("", 0)])
def test_workers_do_not_outlive_the_program(end: str, status: int) -> None:
    """Workers left over would keep the program's output open, and subprocess.run would wait for them."""
    script = f"""
        import os, signal, sys
        from itertools import count
        from nmt.data.prefetch import in_processes
        items = in_processes(abs, count(), 3, print)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        print("built", flush=True)
        {end}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (status, "built\n", "")
