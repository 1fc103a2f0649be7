"""A helper for tests that translate a file into a file in shards of 100 lines, in this process or in another one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.inference import shards
from tests.toy_run import made_up_lines, make_run

ROOT = Path(__file__).resolve().parents[3]
LINES = [*made_up_lines(450, seed=8, longest=6), "", *made_up_lines(449, seed=9)]
SHARDS = 9
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
_COMMAND = (
    "from nmt.inference import shards; shards.LINES = 100; from nmt.cli.translate import main; raise SystemExit(main())"
)


class FileJob:
    """A run, a text to translate with it, and the output of an uninterrupted call."""

    def __init__(self, folder: Path) -> None:
        self.run = make_run(folder / "run")
        self.text = folder / "in.txt"
        self.text.write_text("".join(f"{line}\n" for line in LINES))
        assert self.call(folder / "out.txt") == 0
        self.expected = (folder / "out.txt").read_bytes()

    def arguments(self, output: Path, *more: object, run: Path | None = None) -> list[str]:
        """Return the arguments of nmt-translate; the options in `more` override the earlier ones."""
        return list(map(str, [run or self.run, "--device", "cpu", "-i", self.text, "-o", output, *more]))

    def call(self, output: Path, *more: object, run: Path | None = None) -> int:
        """Run nmt-translate in this process and return its exit status."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "LINES", 100)
            return translate.main(self.arguments(output, *more, run=run))

    @contextmanager
    def started(self, output: Path, *more: object) -> Iterator[subprocess.Popen[str]]:
        """Run nmt-translate in another process, which is killed at the end of the `with` block."""
        command = [sys.executable, "-c", _COMMAND, *self.arguments(output, *more)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            try:
                yield process
            finally:
                process.kill()


def finished(output: Path) -> int:
    """Return the number of finished shards of an output file."""
    return len(list(output.with_name(f"{output.name}.parts").glob("shard-*")))


def wait_for(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until `count` shards of an output file are finished."""
    deadline = time.monotonic() + 120
    while finished(output) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.001)
