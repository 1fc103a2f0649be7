"""Write a run's event file for TensorBoard.

torch's SummaryWriter writes in a thread of its own, which prints a traceback when the disk is full and opens the file
anew at each write. Here the events are appended by whoever calls `flush`, so that an error is raised there.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.errors import NmtError


class Board:
    """An event file in a folder. Events are kept in memory until `flush`."""

    def __init__(self, folder: Path, first: int, check: Callable[[], None] = lambda: None) -> None:
        """Create the file; TensorBoard drops older events of the step `first` and later.

        `check` is called before each write, and raises NmtError if nothing may be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._check = check
        self._pending = io.BytesIO()
        self._records = RecordWriter(self._pending)
        check()
        folder.mkdir(exist_ok=True)
        _await_later_name(folder)
        self._path = folder / f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        for what in ({"file_version": "brain.Event:2"}, {"session_log": SessionLog(status=SessionLog.START)}):
            self._add(Event(step=first, **what))
        self.flush()

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a value to the curve `name`."""
        from torch.utils.tensorboard.summary import scalar

        self._add_summary(scalar(name, value), step)

    def text(self, name: str, markdown: str, step: int) -> None:
        """Add a text."""
        from torch.utils.tensorboard.summary import text

        self._add_summary(text(name, markdown), step)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Add a picture [height, width, 3]."""
        from torch.utils.tensorboard.summary import image

        self._add_summary(image(name, pixels, dataformats="HWC"), step)

    def flush(self) -> None:
        """Append the pending events to the file. Raises NmtError if that fails; the events are then lost."""
        content = self._pending.getvalue()
        self._pending.seek(0)
        self._pending.truncate()
        if not content:
            return
        self._check()
        try:
            with self._path.open("ab") as file:
                file.write(content)
        except OSError as error:
            raise NmtError(f"{self._path} could not be written: {error.strerror}") from error

    def _add_summary(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._add(Event(step=step, summary=summary))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


def _await_later_name(folder: Path) -> None:
    """Wait for the next second if an event file was already created in the current second.

    TensorBoard reads event files in the order of their names, which contain the second of their creation.
    """
    now = time.time()
    if any(folder.glob(f"events.out.tfevents.{int(now):010d}.*")):
        time.sleep(1 - now % 1)
