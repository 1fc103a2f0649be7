"""Test nmt.files: files and folders are complete or absent, also through links, and partial folders are resumed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from nmt import files
from nmt.errors import NmtError
from nmt.files import atomic_directory, atomic_write, check_writable, make_folder, open_output, resumable_directory


def write_output(path: Path, text: str) -> None:
    with open_output(path) as file:
        file.write(text.encode())


def write_file(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)


def write_folder(path: Path, text: str) -> None:
    with atomic_directory(path) as folder:
        (folder / "text").write_text(text)


def write_folder_in_parts(path: Path, text: str) -> None:
    with resumable_directory(path, wait=lambda: None) as folder:
        assert folder is not None
        (folder / "text").write_text(text)


def text_of(path: Path) -> str:
    return (path / "text" if path.is_dir() else path).read_text()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_has_come_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    """Preparation makes a link to data that another process may be preparing under the link's name."""
    (tmp_path / "there").mkdir()
    with resumable_directory(tmp_path / "made", wait=lambda: None) as folder:
        assert folder is not None
        (tmp_path / "made").symlink_to("there")
    assert (tmp_path / "made").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "made"}


@pytest.fixture
def umask() -> Iterator[None]:
    """Set an unusual umask, so that no hard-coded mode agrees with it by chance."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_link_is_kept_and_its_target_is_replaced_with_the_same_mode(
    tmp_path: Path, write: Callable[[Path, str], None], umask: None
) -> None:
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "target"
    write(target, "older")
    target.chmod(0o751)
    (tmp_path / "first").symlink_to(Path("disk") / "target")
    (tmp_path / "second").symlink_to(tmp_path / "first")
    write(tmp_path / "second", "newer")
    assert text_of(target) == "newer"
    assert (tmp_path / "first").readlink() == Path("disk/target")
    assert (tmp_path / "second").is_symlink()
    assert mode_of(target) == 0o751
    assert [path.name for path in target.parent.iterdir()] == ["target"], "no partial file is left"


@pytest.mark.parametrize(
    ("write", "mode"), [(write_file, 0o640), (write_folder, 0o750), (write_folder_in_parts, 0o750)]
)
def test_the_target_of_a_dangling_link_is_created_with_the_mode_of_the_umask(
    tmp_path: Path, write: Callable[[Path, str], None], mode: int, umask: None
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "target")
    write(link, "new")
    assert link.is_symlink()
    assert text_of(tmp_path / "disk" / "target") == "new"
    assert mode_of(tmp_path / "disk" / "target") == mode


def test_make_folder_creates_the_target_of_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "target")
    make_folder(tmp_path / "link")
    assert (tmp_path / "disk" / "target").is_dir()


@pytest.mark.parametrize("write", [write_file, write_folder, write_folder_in_parts])
def test_circular_links_are_reported_in_one_sentence(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    for place in (tmp_path / "one", tmp_path / "one" / "within"):
        with pytest.raises(NmtError, match="one is a symbolic link that leads in a circle: delete it"):
            write(place, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    with atomic_write(path) as file:
        (partial,) = (other for other in tmp_path.iterdir() if other != path)
        assert mode_of(partial) == 0o600
        file.write("secret")
    assert mode_of(path) == 0o600


def test_a_failure_changes_neither_the_link_nor_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("older")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "link") as file:
        file.write("half")
        raise KeyboardInterrupt
    assert (tmp_path / "link").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_a_name_that_is_too_long_to_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / ("a" * 200))
    with pytest.raises(NmtError, match="aaa cannot be written: its name is too long"):
        check_writable(tmp_path / ("a" * 254))


def test_a_pipe_and_an_open_file_are_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    with pytest.raises(NmtError, match="pipe is a pipe or a device"), atomic_write(pipe):
        pass
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_output(pipe, "through")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        write_output(Path(f"/dev/fd/{log.fileno()}"), "through\n")
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "before\nthrough\nafter\n"
    with pytest.raises(NmtError, match="/dev/fd/999 could not be written: Bad file descriptor"):
        write_output(Path("/dev/fd/999"), "text")


def test_partial_files_of_a_killed_process_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed while it renames a finished file, in a folder that has not been renamed itself."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process does not clean up
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with resumable_directory(tmp_path / "made", wait=killed) as folder:
            assert folder is not None
            with atomic_write(folder / "done") as file:
                file.write("kept")
            patch.setattr(Path, "replace", killed)
            with atomic_directory(folder / "inner") as inner, atomic_write(inner / "file") as file:
                file.write("half")
    (partial,) = (path for path in tmp_path.iterdir() if path.name.endswith(".partial"))
    assert len(list(partial.rglob(".*.partial"))) == 2, "an unfinished folder and an unfinished file in it"
    with resumable_directory(tmp_path / "made", wait=killed) as folder:
        assert folder is not None
        assert [path.name for path in folder.iterdir()] == ["done"]
    assert (tmp_path / "made" / "done").read_text() == "kept"


def test_a_lock_is_taken_even_if_its_holder_removed_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command removes the folder that it made if it fails before it has put anything into it."""
    lock = tmp_path / "exports" / ".lock"
    lock.parent.mkdir()
    is_still, removed = files._is_still, []

    def removed_at_first(path: Path, file: IO[str]) -> bool:
        if not removed:
            path.unlink()
            path.parent.rmdir()
            removed.append(path)
        return is_still(path, file)

    monkeypatch.setattr(files, "_is_still", removed_at_first)
    with files.in_turn(lock):
        assert lock.is_file()
    assert removed == [lock] and not lock.exists()
