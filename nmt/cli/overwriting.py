"""Refusing to write a file that is also read, before anything is read."""

from __future__ import annotations

import os
import stat
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from nmt.errors import UsageError
from nmt.files import follow, is_special


def check_pairs_kept(arguments: Namespace, output: str) -> None:
    """Raise UsageError if -o names a file of sentence pairs that --source, --target or --gold reads."""
    paths = {f"--{name}": getattr(arguments, name) for name in ("source", "target", "gold")}
    check_different({option: Path(path) for option, path in paths.items() if path is not None}, {"-o": Path(output)})


def check_different(read: Mapping[str, Path], written: Mapping[str, Path], reads_input: bool = False) -> None:
    """Raise UsageError if a file would be overwritten while it is read, or written by two options.

    Files are given by the option that names them; -i is the input itself. With `reads_input`, a command without -i
    reads its standard input.
    """
    taken: dict[object, str] = {}  # what each file is used for
    if reads_input and "-i" not in read and (standard_input := _standard_input()) is not None:
        taken[standard_input] = "the input itself"
    for option, path in read.items():
        taken[_identity(path)] = "the input itself" if option == "-i" else f"the file that {option} reads"
    for option, path in written.items():
        identity = _identity(path)
        if identity in taken:
            raise UsageError(f"{option} {path} is {taken[identity]}: choose another file to write")
        if not is_special(path):  # several outputs may go to /dev/null
            taken[identity] = f"the file that {option} writes"


def _identity(path: Path) -> object:
    """Return a value that is equal for two paths of the same file, whether the file exists or not."""
    if not path.exists():
        return follow(path)
    status = path.stat()
    return status.st_dev, status.st_ino


def _standard_input() -> object | None:
    """Return the `_identity` of the file that standard input is redirected from; None if it is no regular file."""
    try:
        status = os.fstat(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or a Python object without a file descriptor
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
