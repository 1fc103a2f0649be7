"""The parts shared by all commands: argument parsing, error messages and exit statuses.

A command is a function `main(argv=None) -> int`. It builds a `Parser` and passes it to `run_command` together with a
function that takes the parsed arguments. That function imports slow modules such as torch itself, so that `--help`
answers at once.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

from nmt import __version__
from nmt.config.ranges import NUMBERS, BeamSize, LengthPenalty, kind_and_range
from nmt.errors import NmtError, UsageError, is_out_of_memory
from nmt.files import from_home
from nmt.messages import tell

# the reasons for which the system refuses a file, memory, a thread or a process
_REFUSALS = [os.strerror(number) for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)]
_REFUSALS += ["can't start new thread", "failed to map segment from shared object"]  # by Python, by the loader
_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
WAITING = "reading sentences from the terminal, one per line; press Ctrl-D to end"
DONE, FAILED, WRONG_USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class Parser(argparse.ArgumentParser):
    """An argument parser with the options that several commands share; it raises UsageError on wrong arguments."""

    def __init__(self, name: str, usage: str, description: str, epilog: str | None = None) -> None:
        """Create the parser of command `name`; `usage` is the rest of the usage line, such as "RUN_DIR [-o FILE]"."""
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
        """Add the arguments that name a configuration: CONFIG.yaml|PRESET and key=value overrides."""
        self.add_argument("config", metavar="CONFIG.yaml|PRESET", help="a YAML file or the name of a preset")
        overrides = "replace a value (seed=2) or choose a whole group (model=luong)"
        self.add_argument("overrides", metavar="key=value", nargs="*", default=[], help=overrides)

    def add_run(self) -> None:
        """Add the argument that names one run directory."""
        self.add_argument("run_dir", metavar="RUN_DIR", type=place, help="a run directory written by nmt-train")

    def add_pairs(self) -> None:
        """Add the options that name the two files of sentence pairs, and their tag."""
        source, target = "source text, one sentence per line", "the translation of each source line"
        self.add_argument("--source", metavar="F", type=place, required=True, help=source)
        self.add_argument("--target", metavar="F", type=place, required=True, help=target)
        tag = "use this tag for all pairs; it has to be one that the model was trained with"
        self.add_argument("--tag", metavar="TAG", help=tag)

    def add_checkpoint(self) -> None:
        """Add the option that chooses a checkpoint of the run."""
        names = (
            "which checkpoint to use: best, last, averaged, a step number or the name of its folder; default: averaged "
            "if there is one, otherwise best"
        )
        self.add_argument("--checkpoint", metavar="NAME", help=names)

    def add_device(self) -> None:
        """Add the option that chooses the device to compute on."""
        device = "cuda, cuda:1, mps or cpu; default: the first of them that is available"
        self.add_argument("--device", default="auto", help=device)

    def add_beam(self) -> None:
        """Add the options of beam search."""
        beam = "beam size of the search, 1 for greedy; default: search.beam_size of the run"
        self.add_argument("--beam-size", metavar="N", type=number(BeamSize), help=beam)
        alpha = "exponent of the length penalty, 0 for none; default: search.length_penalty of the run"
        self.add_argument("--length-penalty", metavar="A", type=number(LengthPenalty), help=alpha)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message, for `run_command` to print."""
        raise UsageError(message)


def number(annotated: Any) -> Callable[[str], Any]:
    """Return an argparse type that accepts the numbers of an annotated type, such as those in nmt.config.ranges."""
    kind, limits = kind_and_range(annotated)
    assert limits is not None, "the type must be annotated with a Range"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value not in limits or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text}: expected {NUMBERS[kind]} {limits}")
        return value

    return parse


def place(text: str) -> str:
    """Parse an argument that is a file or folder; ~ stands for the home folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a file or folder is empty")
    return from_home(text)


def file_or_stream(text: str) -> str | None:
    """Parse an argument that is a file, or - (returned as None) for standard input or output."""
    return None if text == "-" else place(text)


def several_processes() -> bool:
    """Return whether torchrun started this process as one of several; raises UsageError if WORLD_SIZE is no number."""
    size = os.environ.get("WORLD_SIZE") or "1"
    if not size.isdecimal():
        raise UsageError(f"WORLD_SIZE={size} is no number of processes: unset it, or start the command with torchrun")
    return int(size) > 1


def run_command(
    parser: Parser, command: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None = None
) -> int:
    """Parse `argv` (default: the arguments of this process), call `command` and return the exit status.

    The status is 0 (or the value that `command` returns) on success, 1 after a failure, 2 after wrong usage, 130 after
    Ctrl-C and 141 when the program that reads stdout has ended. A failure that the user can do something about is
    reported in one sentence on stderr; any other exception keeps its traceback.
    """
    name = parser.prog
    _hold_standard_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that the locale lacks, as stderr has it
    try:
        status = command(parser.parse_intermixed_args(argv))  # options may stand between positional arguments
        if sys.stdout is not None:  # None if the caller closed it
            sys.stdout.flush()
        return DONE if status is None else status
    except SystemExit as leave:  # --help, --version, and commands stopped by a signal
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
        if (sentence := sentence_of(error)) is None:
            raise
        tell(sentence, f"{name}: error")
        if _is_full(error):
            _give_up_stdout()
        return FAILED


def _hold_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that the caller closed; its Python object becomes None.

    Otherwise the next file that is opened would take the number of the closed stream, and libraries written in C would
    write their messages into that file.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(null, True)
            setattr(sys, name, None)


def check_stdout() -> None:
    """Raise NmtError if standard output is closed, so that no work is done for a result that cannot be printed."""
    if sys.stdout is None:
        raise NmtError("standard output is closed: send it to a file, or to /dev/null if the result is not wanted")


def _give_up_stdout() -> None:
    """Redirect stdout to /dev/null, because the interpreter would fail again when it flushes stdout on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_full(error: Exception) -> bool:
    """Return whether writing to an open file, such as standard output, failed because the disk is full or broken."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _TAKES_NO_MORE


def sentence_of(error: Exception) -> str | None:
    """Return the message for an error that the user can do something about, or None for any other error."""
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
        return f"standard output could not be written: {os.strerror(getattr(error, 'errno', 0))}"
    if isinstance(error, OSError | ImportError | RuntimeError) and (
        reason := next((each for each in _REFUSALS if each in str(error)), None)
    ):
        return f"the system refused a file, memory, a thread or a process ({reason}): raise its limits (see ulimit -a)"
    return None
