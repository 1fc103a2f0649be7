"""Writing files and folders that are complete or absent, never half there."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from nmt.errors import NmtError, Unfinished

# The names under which atomic_write and atomic_directory work: the process's number; eight letters in earlier versions.
_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?:[0-9]+|[a-z0-9_]{8})\.partial")


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], mode: str = "w", temporary: str | os.PathLike[str] | None = None
) -> Iterator[IO[Any]]:
    """Open a temporary file (text: UTF-8) that takes the place of `path` when the block ends without an error.

    Where `path` is a symbolic link, the file that it leads to is replaced and the link stays. A file that is replaced
    hands on its mode; a new one has what the umask allows. A pipe, a device or /dev/stdout is written to as it is.
    temporary: the file to write first, on the file system of `path`; a hidden neighbour of what is replaced by default.
    """
    path = Path(path)
    place = follow(path)
    kind: dict[str, Any] = {"newline": None} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    if is_special(path):
        with _open_special(path, mode, kind) as file:
            yield file
        return
    partial = Path(temporary or place.with_name(f".{place.name}.{os.getpid()}.partial"))
    with kept_if_filled(place.parent), _telling(path, partial):
        try:
            kept = _mode(place)
            # at no moment may anybody read it who may not read what it replaces
            partial.touch(0o666 if kept is None else kept | 0o200)
            with partial.open(mode, **kind) as file:
                _give_mode(partial, kept)
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error, replacing an older one.

    Symbolic links and modes are treated as by `atomic_write`.
    """
    path = Path(path)
    place = follow(path)
    make_folder(place.parent)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    with _telling(path, partial):
        try:
            shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
            kept = _mode(place) if place.is_dir() else None
            partial.mkdir(mode=0o777 if kept is None else kept | 0o700)  # it has to be filled
            yield partial
            _sync_tree(partial)
            _give_mode(partial, kept)
            if place.is_dir():
                shutil.rmtree(place)
            partial.replace(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _telling(path: Path, partial: Path) -> Iterator[None]:
    """Raise NmtError where `partial`, which is to become `path`, is what could not be written in the block."""
    try:
        yield
    except OSError as error:
        about = error.filename
        of_another = isinstance(about, str | bytes) and not Path(os.fsdecode(about)).is_relative_to(partial)
        if of_another or isinstance(error, BrokenPipeError):  # something else that the block does
            raise
        raise NmtError(f"{path} could not be written: {error.strerror or error}") from error


def leftover_of(path: Path) -> str | None:
    """The name of the file or folder that an atomic write began at `path` and never ended; None for any other path."""
    partial = _PARTIAL.fullmatch(path.name)
    return None if partial is None else partial["name"]


@contextmanager
def resumable_directory(path: str | os.PathLike[str], wait: Callable[[], None]) -> Iterator[Path | None]:
    """Yield the folder .NAME.partial, which becomes `path` when the block ends without an error; None if it is there.

    Where a process ends before that, or the block raises Unfinished or an OSError, the folder stays for the next one to
    go on in; after other errors it goes. One process at a time: another one calls `wait`, and waits. Where `path` is a
    symbolic link, all this is beside what it leads to.
    """
    path = follow(path)
    if path.is_dir():
        yield None
        return
    partial = path.with_name(f".{path.name}.partial")
    with kept_if_filled(path.parent), in_turn(path.with_name(f".{path.name}.lock"), wait):
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
def in_turn(path: Path, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file during the block, and remove it. While another process holds it, `wait` is called and it is
    waited for, unless `wait` raises. The system lets go of it when the process ends, however it ends; a file system
    without locks keeps nobody waiting."""
    while True:
        make_folder(path.parent)  # whoever held the lock before may have removed it
        with path.open("w") as lock:
            with suppress(ImportError, OSError):
                import fcntl  # not everywhere

                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wait()
                    fcntl.lockf(lock, fcntl.LOCK_EX)
            if not _is_still(path, lock):  # whoever held it has removed it
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_still(path: Path, file: IO[Any]) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file during the block, as `in_turn`. Raises NmtError, `refusal`, where another process holds it."""

    def refuse() -> None:
        raise NmtError(refusal)

    with in_turn(path, refuse):
        yield


@contextmanager
def kept_if_filled(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder, made with its parents where it is missing; an error in the block takes those away again that
    were made and are still empty."""
    place = follow(path)
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        yield make_folder(path)
    except BaseException:
        with suppress(OSError):  # the first that is not empty ends it
            for folder in missing:
                if folder.exists():
                    folder.rmdir()
        raise


def from_home(path: str) -> str:
    """Return a path with the home folder for the tilde (or the ~name) that it begins with, as a shell reads it."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser refuses the name of an unknown user)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder with its parents, where a symbolic link leads, too; one sentence where a file is in its place."""
    path = Path(path)
    try:
        follow(path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NmtError(
            f"{path} should be a folder, but a file is in its place: move it or choose another path"
        ) from error
    except OSError as error:
        raise NmtError(f"the folder {path} could not be made: {error.strerror or error}") from error
    return path


def check_writable(path: str | os.PathLike[str], *, folder: bool = False) -> None:
    """Refuse a file, or a folder to be filled, that could not be written, before any work is done for it.

    Missing folders are made when it is written; here nothing is. Raises NmtError, with one sentence.
    """
    if is_special(path):
        return
    place = follow(path)
    if place.is_dir() and not folder:
        raise NmtError(f"{path} is a folder: give the file to write")
    above = place if folder else place.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise NmtError(f"{path} cannot be written: {above} should be a folder, but is a file")
    try:
        TemporaryFile(dir=above).close()
    except OSError as error:
        raise NmtError(f"{path} cannot be written: {above}: {error.strerror or error}") from error


def follow(path: str | os.PathLike[str]) -> Path:
    """Return the place that a path leads to through symbolic links, whether anything is there or not.

    Raises NmtError for links that lead in a circle.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise NmtError(f"{path} is a symbolic link that leads in a circle: delete it, or choose another path")
    return place


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether something is there that is no file and no folder, such as a pipe, a device or /dev/stdout."""
    path = Path(path)
    return _descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _descriptor(path: Path) -> int | None:
    """Return the number of this process's open file that /dev/stdout, /dev/fd/3 or a link to such a path stands for."""
    own = {os.path.realpath(folder) for folder in ("/dev/fd", "/proc/self/fd")}
    for _ in range(40):  # links, at most, that Linux follows
        if path.name.isdecimal() and os.path.realpath(path.parent) in own:
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _open_special(path: Path, mode: str, kind: dict[str, Any]) -> IO[Any]:
    """Open what must not be replaced. Opening /dev/stdout by its name would cut the file that it is directed to."""
    descriptor = _descriptor(path)
    with _telling(path, path):
        return path.open(mode, **kind) if descriptor is None else os.fdopen(os.dup(descriptor), mode, **kind)


def _mode(path: Path) -> int | None:
    """Return the permissions of a file or folder; None where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _give_mode(path: Path, mode: int | None) -> None:
    """Give a new file the permissions of the one it replaces, if there is one; some file systems have but one mode."""
    if mode is not None and _mode(path) != mode:
        path.chmod(mode)


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
