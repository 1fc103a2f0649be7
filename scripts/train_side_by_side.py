"""Train several configurations at the same time, the cores shared out among them.

usage: python scripts/train_side_by_side.py LANE LANE ... [key=value ...]

A lane is a preset or YAML file, or several with commas between, which are trained one after another; key=value goes to
all of them. Small models train faster on a core each than in turn on all cores. Lines begin with the configuration's
name. A run is a run of nmt-train: the same command goes on with it, or finds it trained. When a training fails or a
signal comes, the others save and end as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

NMT_TRAIN = Path(sys.executable).with_name("nmt-train")


class Lanes:
    """Trainings in several lanes, until all are done or one has failed."""

    def __init__(self, lanes: list[list[str]], overrides: list[str]) -> None:
        self.lanes = lanes
        self.overrides = overrides
        self.width = max(len(Path(name).stem) for lane in lanes for name in lane)
        self.status = 0  # of the first that failed
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self) -> int:
        """Train all; returns the exit status."""
        threads = [threading.Thread(target=self._run_lane, args=(lane,)) for lane in self.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.status

    def stop(self, status: int) -> None:
        """Begin nothing more, and have what runs save and end."""
        with self._lock:
            self.status = self.status or status
            for process in self._running:
                process.terminate()

    def _run_lane(self, lane: list[str]) -> None:
        for config in lane:
            command = [str(NMT_TRAIN), config, *self.overrides]
            with self._lock:
                if self.status:
                    return
                # in a group of its own: of Ctrl-C it hears by `stop`, once
                process = subprocess.Popen(
                    command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
                self._running.add(process)
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{Path(config).stem:{self.width}} | {line}", end="", flush=True)
            status = process.wait()
            with self._lock:
                self._running.remove(process)
            if status:
                self.stop(status if status > 0 else 128 - status)
                return


def overrides_of(lanes: int, given: list[str]) -> list[str]:
    """What each training of so many lanes is told: its share of the cores, unless that is given, and what is given."""
    if any(override.startswith("training.threads=") for override in given):
        return given
    return [f"training.threads={max(1, (os.cpu_count() or 1) // lanes)}", *given]


def main(arguments: list[str]) -> int:
    """Train as the arguments say; returns the exit status."""
    lanes = [argument.split(",") for argument in arguments if "=" not in argument]
    if not lanes:
        sys.exit(__doc__)
    work = Lanes(lanes, overrides_of(len(lanes), [argument for argument in arguments if "=" in argument]))

    def stop(number: int, _frame: FrameType | None) -> None:
        work.stop(128 + number)  # the main thread only waits and so never holds the lock

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return work.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
