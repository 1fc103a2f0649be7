"""The base of every command: how arguments are parsed, how failures are told, which status a command ends with.

A command is `main(argv=None) -> int`: it builds a `Parser` and hands it to `run_command` with a function of the parsed
arguments. That function imports what is slow to load (torch) itself, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nmt import __version__
from nmt.config.ranges import NUMBERS, BeamSize, LengthPenalty, kind_and_range
from nmt.errors import NmtError, UsageError, is_out_of_memory
from nmt.files import from_home
from nmt.messages import tell

_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
WAITING = "reading sentences from the terminal, one a line; Ctrl-D ends"  # what a command says that reads from one
DONE, FAILED, WRONG_USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are a usage line and a sentence; options may stand anywhere among the words."""

    def __init__(self, name: str, usage: str, description: str, epilog: str | None = None) -> None:
        """`usage` follows the name in the usage line, such as "RUN_DIR [-o FILE]"."""
        super().__init__(
            prog=name,
            usage=f"{name} {usage}".replace("%", "%%"),
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"nmt {__version__}")

    def add_config(self) -> None:
        """The arguments of a command that takes a configuration: CONFIG.yaml|PRESET and key=value overrides."""
        self.add_argument("config", metavar="CONFIG.yaml|PRESET", help="a YAML file, or the name of a preset")
        overrides = "replaces a value, or a group (model=luong)"
        self.add_argument("overrides", metavar="key=value", nargs="*", default=[], help=overrides)

    def add_run(self) -> None:
        """The argument of a command that takes one run."""
        self.add_argument("run_dir", metavar="RUN_DIR", type=from_home, help="a run directory of nmt-train")

    def add_checkpoint(self) -> None:
        """The option that chooses a run's weights."""
        names = "best, last, averaged, a step or its folder; default: averaged if there is one, or best"
        self.add_argument("--checkpoint", metavar="NAME", help=names)

    def add_device(self) -> None:
        """The option that says where to compute."""
        self.add_argument("--device", default="auto", help="cuda, cuda:1, mps or cpu; default: the first there is")

    def add_beam(self) -> None:
        """Add the options of beam search."""
        beam = "1 = greedy; default: search.beam_size"
        self.add_argument("--beam-size", metavar="N", type=number(BeamSize), help=beam)
        alpha = "default: search.length_penalty"
        self.add_argument("--length-penalty", metavar="A", type=number(LengthPenalty), help=alpha)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong; `run_command` prints it."""
        raise UsageError(message)


def number(annotated: Any) -> Callable[[str], Any]:
    """An argument type: a number with the range that it is annotated with, such as those of nmt.config.ranges."""
    kind, limits = kind_and_range(annotated)
    assert limits is not None, "the caller annotates it"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value not in limits or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text}: expected {NUMBERS[kind]} {limits}")
        return value

    return parse


def file_or_stream(text: str) -> str | None:
    """An argument type: a file, or None for -, which is standard input or output."""
    return None if text == "-" else from_home(text)


def run_command(
    parser: Parser, command: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None = None
) -> int:
    """Parse `argv` (default: the process's own), call `command` and return the exit status.

    0 = done (or what `command` returns), 1 = failed, 2 = wrong usage, 130 = interrupted, 141 = the reader of stdout has
    gone; each failure is one sentence on stderr. Errors that are not the user's to mend keep their traceback.
    """
    name = parser.prog
    try:
        status = command(parser.parse_intermixed_args(argv))
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return DONE if status is None else status
    except SystemExit as leave:  # --help, --version, and commands that end at a signal
        return leave.code if isinstance(leave.code, int) else DONE if leave.code is None else FAILED
    except UsageError as error:
        tell(f"{parser.format_usage().rstrip()}\n{name}: error: {error}")
        return WRONG_USAGE
    except KeyboardInterrupt:
        tell("interrupted", name)
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if (sentence := _sentence(error)) is None:
            raise
        tell(sentence, f"{name}: error")
        if _is_full(error):
            _give_up_stdout()
        return FAILED


def _give_up_stdout() -> None:
    """Let the interpreter's last flush of what could not be written find a place that takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_full(error: Exception) -> bool:
    """Whether the place of an open file, such as standard output, takes no more."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _TAKES_NO_MORE


def _sentence(error: Exception) -> str | None:
    """What to tell the user, or None for an error that is not theirs to mend."""
    if isinstance(error, NmtError):
        return str(error)
    if is_out_of_memory(error):
        return (
            "out of memory: lower training.tokens_per_device (training) or search.tokens_per_batch (translation), "
            "or choose a smaller model"
        )
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if _is_full(error):
        return f"the output could not be written: {os.strerror(getattr(error, 'errno', 0))}"
    return None
