"""Writing files and folders so that each is either complete or absent, never half written."""

from __future__ import annotations

import functools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from nmt.errors import NmtError, Unfinished
from nmt.partials import delete_leftovers, partial_of

_LONGEST_NAME = 255  # bytes in the name of a file, on all usual systems


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], mode: str = "w", temporary: str | os.PathLike[str] | None = None
) -> Iterator[IO[Any]]:
    """Open a temporary file (text: UTF-8) that replaces `path` when the block ends without an error.

    If `path` is a symbolic link, the file that it leads to is replaced and the link stays. The new file gets the
    permissions of the file that it replaces; if there is none, those that the umask allows. `temporary` is the path of
    the temporary file, on the same file system as `path`; by default it is a hidden file next to the one that is
    replaced, and such files that killed processes left for `path` are deleted. Raises NmtError if a pipe or a device is
    in the place of the file.
    """
    path = Path(path)
    place = follow(path)
    kind: dict[str, Any] = {"newline": None} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    if is_special(path):
        raise NmtError(f"{path} is a pipe or a device, where a file should be: move it away")
    partial = partial_of(place) if temporary is None else Path(temporary)
    with kept_if_filled(place.parent), _report_write_errors(path, partial):
        delete_leftovers(place.parent, lambda name: name == place.name)
        try:
            kept = _mode(place)
            # created with its permissions, so that nobody can read it who may not read the file that it replaces
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
def open_output(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file that the user named for a result, as `atomic_write` does.

    A pipe, a device or /dev/stdout is written to directly.
    """
    if is_special(path):
        with _open_special(Path(path)) as file:
            yield file
        return
    with atomic_write(path, "wb", temporary) as file:
        yield file


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error, replacing an older one.

    Symbolic links and permissions are treated as in `atomic_write`.
    """
    path = Path(path)
    place = follow(path)
    make_folder(place.parent)
    partial, older = partial_of(place), partial_of(place.with_name(f"{place.name}.older"))
    with _report_write_errors(path, partial):
        delete_leftovers(place.parent, lambda name: name in (place.name, f"{place.name}.older"))
        try:
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed process that had the same id
            kept = _mode(place) if place.is_dir() else None
            partial.mkdir(mode=0o777 if kept is None else kept | 0o700)  # the block has to write into it
            yield partial
            _sync_tree(partial)
            _give_mode(partial, kept)
            if place.is_dir():
                place.replace(older)  # takes an instant; deleting it before it is replaced would take longer
            partial.replace(place)
        finally:
            for folder in (partial, older):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _report_write_errors(path: Path, partial: Path) -> Iterator[None]:
    """Turn an OSError about `partial` in the block into an NmtError that says that `path` could not be written.

    `partial` is the temporary file or folder that becomes `path`. Errors about other files are not changed.
    """
    try:
        yield
    except OSError as error:
        about = error.filename
        of_another = isinstance(about, str | bytes) and not Path(os.fsdecode(about)).is_relative_to(partial)
        if of_another or isinstance(error, BrokenPipeError):  # an error that has nothing to do with `partial`
            raise
        raise NmtError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def resumable_directory(path: str | os.PathLike[str], wait: Callable[[], None]) -> Iterator[Path | None]:
    """Yield a folder .NAME.partial that becomes `path` when the block ends without an error; None if `path` exists.

    If the process dies or the block raises an error, the folder is kept, so that the next call can resume the work. It
    is deleted only after an NmtError that is neither Unfinished nor caused by an OSError. Only one process works at a
    time: if another one is at work, this process calls `wait` and then waits. If `path` is a symbolic link, the folder
    is next to the place that the link leads to.
    """
    path = follow(path)
    if path.is_dir():
        yield None
        return
    partial = path.with_name(f".{path.name}.partial")
    with kept_if_filled(path.parent), in_turn(path.with_name(f".{path.name}.lock"), wait):
        if path.is_dir():  # another process has finished it in the meantime
            yield None
            return
        try:
            partial.mkdir(exist_ok=True)
            for half_written in list(partial.rglob(".*.partial")):
                shutil.rmtree(half_written) if half_written.is_dir() else half_written.unlink(missing_ok=True)
            yield partial
            _sync_tree(partial)
            if path.is_dir():  # somebody else has put the folder there, or a link to an equal one
                shutil.rmtree(partial)
            else:
                partial.replace(path)
        except OSError as error:
            raise Unfinished(
                f"{path} could not be written: {error.strerror or error} (what is done so far is kept in {partial}: "
                "run the same command again to resume)"
            ) from error
        except NmtError as error:
            if not isinstance(error, Unfinished) and not isinstance(error.__cause__, OSError):
                shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def in_turn(path: Path, wait: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Hold a lock file during the block, and remove it afterwards; yield a function that tells if it is still there.

    If another process holds the lock, `wait` is called first; unless it raises, this process then waits. The system
    releases the lock when its process ends, however it ends. On a file system without locks nobody waits.
    """
    while True:
        make_folder(path.parent)  # the process that held the lock before may have removed it
        with path.open("w") as lock:
            with suppress(ImportError, OSError):
                import fcntl  # not on every system

                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wait()
                    fcntl.lockf(lock, fcntl.LOCK_EX)
            if not _is_still(path, lock):  # the process that held the lock has removed the file: open it again
                continue
            try:
                yield functools.partial(_is_still, path, lock)
            finally:
                if _is_still(path, lock):
                    path.unlink(missing_ok=True)
            return


def _is_still(path: Path, file: IO[Any]) -> bool:
    """Return whether a path still leads to the given open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[Callable[[], bool]]:
    """Hold a lock file during the block, as `in_turn` does, but raise NmtError(refusal) if another process holds it."""

    def refuse() -> None:
        raise NmtError(refusal)

    with in_turn(path, refuse) as is_still_there:
        yield is_still_there


@contextmanager
def kept_if_filled(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a folder and its parents, and yield the folder; after an error in the block, remove the new folders.

    New folders that are no longer empty are kept.
    """
    place = follow(path)
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        yield make_folder(path)
    except BaseException:
        with suppress(OSError):  # stops at the first folder that is not empty
            for folder in missing:
                if folder.exists():
                    folder.rmdir()
        raise


def from_home(path: str) -> str:
    """Replace a leading ~ (or ~name) of a path by the home folder, as a shell does."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser refuses the name of an unknown user)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder with its parents, following symbolic links; raise NmtError if a file is in its place."""
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
    """Raise NmtError if the file `path` cannot be written, or with `folder`, if files in the folder `path` cannot.

    Call this before the work whose result is written there, so that the work is not lost. Missing folders are created
    later, when the file is written.
    """
    if is_special(path):
        return
    place = follow(path)
    if place.is_dir() and not folder:
        raise NmtError(f"{path} is a folder: give the file to write")
    if not folder and len(os.fsencode(partial_of(place).name)) > _LONGEST_NAME:
        raise NmtError(f"{path} cannot be written: its name is too long")
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
    """Return the path that `path` leads to through symbolic links, whether or not anything exists there.

    Raises NmtError for links that lead in a circle.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise NmtError(f"{path} is a symbolic link that leads in a circle: delete it, or choose another path")
    return place


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` exists but is neither a file nor a folder: a pipe, a device or /dev/stdout, for example."""
    path = Path(path)
    return _descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _descriptor(path: Path) -> int | None:
    """Return the file descriptor for /dev/stdout, /dev/fd/3 or a link to such a path; None for all other paths."""
    own = {os.path.realpath(folder) for folder in ("/dev/fd", "/proc/self/fd")}
    for _ in range(40):  # the number of links that Linux follows at most
        if path.name.isdecimal() and os.path.realpath(path.parent) in own:
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _open_special(path: Path) -> IO[bytes]:
    """Open a pipe, a device or /dev/stdout, without truncating the file that /dev/stdout may be redirected to."""
    descriptor = _descriptor(path)
    with _report_write_errors(path, path):
        return path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")


def _mode(path: Path) -> int | None:
    """Return the permissions of a file or folder; None if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _give_mode(path: Path, mode: int | None) -> None:
    """Give a new file the permissions of the one it replaces, if they differ: not all file systems can change them."""
    if mode is not None and _mode(path) != mode:
        path.chmod(mode)


def _sync_tree(folder: Path) -> None:
    """Flush all files in a folder to the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
