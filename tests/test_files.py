"""Folders that a later process goes on in."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.files import atomic_directory, atomic_write, resumable_directory


def test_what_was_half_written_when_a_process_was_killed_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed as a file is put into place, inside of a folder that is not in its place yet."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing is tidied up after a kill
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with resumable_directory(tmp_path / "made", wait=killed) as folder:
            assert folder is not None
            with atomic_write(folder / "done") as file:
                file.write("kept")
            patch.setattr(Path, "replace", killed)
            with atomic_directory(folder / "inner") as inner, atomic_write(inner / "file") as file:
                file.write("half")
    (partial,) = (path for path in tmp_path.iterdir() if path.name.endswith(".partial"))
    assert len(list(partial.rglob(".*.partial"))) == 2, "a folder and a file in it"
    with resumable_directory(tmp_path / "made", wait=killed) as folder:
        assert folder is not None
        assert [path.name for path in folder.iterdir()] == ["done"]
    assert (tmp_path / "made" / "done").read_text() == "kept"
