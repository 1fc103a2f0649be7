"""The command itself: it translates streams as their lines arrive and leaves files to `nmt.cli.translate.sharded`."""

from __future__ import annotations

import os
import signal
import stat
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import IO

from nmt.cli.common import WAITING, run_command
from nmt.cli.translate.answers import answers, load_translator
from nmt.cli.translate.beside import attention_files, check_counts_beside, forget
from nmt.cli.translate.counting import Counter, lines_done, say
from nmt.cli.translate.options import check_options, make_parser, reader_of
from nmt.cli.translate.places import check_places, check_runs
from nmt.cli.translate.workers import Interruptible
from nmt.data.compression import is_compressed, reading, writing
from nmt.data.long_lines import raw_lines
from nmt.errors import NmtError
from nmt.training.limits import Interrupted, Signals

BLOCK = 2000  # the most lines that are read, sorted by length and translated together


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(), _translate, argv)


def _translate(arguments: Namespace) -> int | None:
    """Check the options, then translate a file into a file, or a stream as its lines arrive."""
    forget()
    check_options(arguments)
    in_files = check_places(arguments)
    check_runs(arguments)
    signals = Signals()
    try:
        with signals.caught(), attention_files(arguments) as arguments.attention_files:
            if in_files:
                from nmt.cli.translate.sharded import translate_file

                translate_file(arguments, signals.interruptible)
            else:
                _translate_stream(arguments, signals.interruptible)
    except Interrupted:
        say(f"stopped by {signal.Signals(signals.exit_status - 128).name}")
        return signals.exit_status
    return None


def _translate_stream(arguments: Namespace, interruptible: Interruptible) -> None:
    """Translate lines as they arrive and write each block of translations at once; only whole lines are written."""
    reader = reader_of(arguments)
    with _input(arguments.input) as source:
        total = _count_lines(source)
        if total is not None:
            check_counts_beside(arguments, total)
        with interruptible():
            translator = load_translator(arguments)
        typed = source.isatty()
        if typed:
            say(WAITING)
        progress = lines_done(total, silent=typed)
        counter = Counter(progress.reach)
        blocks = reader.blocks(source, BLOCK)
        first_line = 1
        with _output(arguments.output) as output:
            while True:
                with interruptible():
                    lines = next(blocks, [])
                    written = answers(translator, lines, first_line, arguments, counter.batch)
                if not lines:
                    break
                output.writelines(written)
                if not is_compressed(output):  # each flush makes a compressed file longer
                    output.flush()
                first_line += len(lines)
                counter.block(len(lines))
            check_counts_beside(arguments, first_line - 1)
            if arguments.input and first_line == 1:
                raise NmtError(f"{arguments.input} is empty: there is nothing to translate")
    if not typed:
        progress.end()
    if broken := reader.report():
        say(broken)


def _input(path: str | None) -> AbstractContextManager[IO[bytes]]:
    """Open the file to translate, or standard input."""
    if path is not None:
        return reading(path)
    if sys.stdin is None:
        raise NmtError("standard input is closed: give the file to translate with -i FILE")
    return nullcontext(sys.stdin.buffer)


def _output(path: str | None) -> AbstractContextManager[IO[bytes]]:
    """Open the file to write, or standard output."""
    if path is not None:
        return writing(path)
    if sys.stdout is None:
        raise NmtError("standard output is closed: give the file to write with -o FILE")
    return nullcontext(sys.stdout.buffer)


def _count_lines(file: IO[bytes]) -> int | None:
    """Return the number of lines left in a file; None for a pipe, a terminal or another stream."""
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
    except OSError:  # a Python object without a file descriptor
        return None
    place = file.tell()
    lines = sum(1 for _ in raw_lines(file))
    file.seek(place)
    return lines
