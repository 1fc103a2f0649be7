"""Reading files that somebody may have damaged: every failure becomes one sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from nmt.errors import Damaged, NmtError, unreadable

# the errors of code that makes sense of a file's content: of decoding, of missing keys, of values of another type
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@contextmanager
def reading(path: Path, advice: str = "") -> Iterator[None]:
    """Turn errors of a block that reads a file, and makes sense of its content, into one sentence.

    Raises Damaged if the file is missing or its content makes no sense, and NmtError with the system's reason if it
    cannot be read. `advice` ends the sentence and says what to do. Keep the block small: a mistake of the code in it
    would be taken for damage.
    """
    advice = f": {advice}" if advice else ""
    try:
        yield
    except NmtError:
        raise
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing{advice}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except _NONSENSE as error:
        raise Damaged(f"{path} is damaged: its content is not what nmt writes there{advice}") from error


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading bytes in the block, with the errors of `reading`.

    Raises Damaged if something else is in its place, such as a pipe.
    """
    with reading(path):
        if path.exists() and not path.is_file():  # a pipe would keep its reader waiting for ever
            raise Damaged(f"{path} is damaged: it is not a file")
        with path.open("rb") as file:
            yield file


def read_file(path: Path) -> bytes:
    """Return the content of a file, with the errors of `opened`."""
    with opened(path) as file:
        return file.read()


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raises Damaged if there is none."""
    with reading(path):
        found = json.loads(read_file(path))
        if not isinstance(found, dict):
            raise TypeError("not an object")
        return found
