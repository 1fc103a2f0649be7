"""Train several configurations at the same time, with the CPU cores divided between them.

usage: python scripts/train_side_by_side.py LANE LANE ... [key=value ...]

A lane is a preset or YAML file, or several of them separated by commas, which are trained one after another. key=value
applies to all of them. Small models train faster with one core each than one after another on all cores. Output lines
begin with the name of the configuration. Each training is a run of nmt-train: the same command resumes it, or finds
that it is done. If a training fails or a signal arrives, the others save a checkpoint and end, too.
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
    """Trainings in several lanes, which run until all are done or one has failed."""

    def __init__(self, lanes: list[list[str]], overrides: list[str]) -> None:
        self.lanes = lanes
        self.overrides = overrides
        self.width = max(len(Path(name).stem) for lane in lanes for name in lane)
        self.status = 0  # exit status of the first training that failed
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self) -> int:
        """Train everything and return the exit status."""
        threads = [threading.Thread(target=self._run_lane, args=(lane,)) for lane in self.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.status

    def stop(self, status: int) -> None:
        """Start no more trainings, and let the running ones save a checkpoint and end."""
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
                # in its own process group, so that Ctrl-C reaches it only once, through `stop`
                try:
                    process = subprocess.Popen(
                        command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, start_new_session=True
                    )
                except OSError as error:
                    print(f"{NMT_TRAIN} cannot be started: {error.strerror}", file=sys.stderr)
                    process = None
                else:
                    self._running.add(process)
            if process is None:
                self.stop(127)
                return
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
    """Return the overrides for each training: its share of the cores (unless given) and the `given` ones."""
    if any(override.startswith("training.threads=") for override in given):
        return given
    return [f"training.threads={max(1, (os.cpu_count() or 1) // lanes)}", *given]


def main(arguments: list[str]) -> int:
    """Train as the arguments ask for and return the exit status."""
    lanes = [argument.split(",") for argument in arguments if "=" not in argument]
    if not lanes:
        sys.exit(__doc__)
    work = Lanes(lanes, overrides_of(len(lanes), [argument for argument in arguments if "=" in argument]))

    def stop(number: int, _frame: FrameType | None) -> None:
        work.stop(128 + number)  # safe: the main thread only waits and never holds the lock

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return work.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
