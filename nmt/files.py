"""Writing files and folders that are complete or absent, never half there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nmt.errors import NmtError, Unfinished

# The names under which atomic_write (the process) and atomic_directory (eight letters of mkdtemp) work.
_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?:[0-9]+|[a-z0-9_]{8})\.partial")


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` (text: UTF-8) that takes its place when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        make_folder(path.parent)
        with temporary.open(
            mode, encoding=None if "b" in mode else "utf-8", newline=None if "b" in mode else "\n"
        ) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if _is_of_another(error, temporary):
            raise
        raise NmtError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error, replacing an older one."""
    path = Path(path)
    make_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield temporary
        _sync_tree(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.chmod(0o755)
        temporary.replace(path)
    except OSError as error:
        if _is_of_another(error, temporary):
            raise
        raise NmtError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def leftover_of(path: Path) -> str | None:
    """The name of the file or folder that an atomic write began at `path` and never ended; None for any other path."""
    partial = _PARTIAL.fullmatch(path.name)
    return None if partial is None else partial["name"]


@contextmanager
def resumable_directory(path: str | os.PathLike[str], wait: Callable[[], None]) -> Iterator[Path | None]:
    """Yield the folder .NAME.partial, which becomes `path` when the block ends without an error; None if it is there.

    Where a process ends before that, or the block raises Unfinished or an OSError, the folder stays for the next one to
    go on in; after other errors it goes. One process at a time: another one calls `wait`, and waits.
    """
    path = Path(path)
    if path.is_dir():
        yield None
        return
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    with _turn(path.with_name(f".{path.name}.lock"), wait):
        if path.is_dir():  # by now
            yield None
            return
        try:
            partial.mkdir(exist_ok=True)
            for half_written in list(partial.rglob(".*.partial")):
                shutil.rmtree(half_written) if half_written.is_dir() else half_written.unlink(missing_ok=True)
            yield partial
            _sync_tree(partial)
            partial.replace(path)
        except OSError as error:
            raise Unfinished(
                f"{path} could not be written: {error.strerror or error} (what is done so far is kept in {partial}: "
                "the same command goes on with it)"
            ) from error
        except NmtError as error:
            if not isinstance(error, Unfinished) and not isinstance(error.__cause__, OSError):
                shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _turn(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file of its own, once no other process does. A file system without locks keeps nobody waiting."""
    while True:
        lock = path.open("w")
        with suppress(ImportError, OSError):
            import fcntl  # not everywhere

            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.lockf(lock, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                break
        lock.close()  # whoever held it has removed it
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str], refusal: str) -> Iterator[None]:
    """Hold a lock file, which the system lets go when the process ends, however it ends.

    Raises NmtError, with `refusal`, where another process holds it. A file system without locks keeps nobody out.
    """
    with Path(path).open("w") as lock:
        with suppress(ImportError, OSError):
            import fcntl  # not everywhere

            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise NmtError(refusal) from error
        yield


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder with its parents; one sentence where a file stands in its place."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NmtError(
            f"{path} should be a folder, but a file is in its place: move it or choose another path"
        ) from error
    except OSError as error:
        raise NmtError(f"the folder {path} could not be made: {error.strerror or error}") from error
    return path


def _is_of_another(error: OSError, place: Path) -> bool:
    """Whether an error of a block that writes `place`, or into it, is about something else that the block does."""
    if isinstance(error, BrokenPipeError):
        return True
    return isinstance(error.filename, str | bytes) and not Path(os.fsdecode(error.filename)).is_relative_to(place)


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
