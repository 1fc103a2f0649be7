"""Test hashes of files: they depend on the content alone, and are only cached while they are certainly valid."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nmt.data import digests as digests_module
from nmt.data.digests import Digests


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record the content of files that are hashed; in these tests a file of 10 bytes is large and settles at once."""
    seen: list[bytes] = []
    honest = digests_module._hash

    def watched(file):  # type: ignore[no-untyped-def]
        seen.append(file.read())
        file.seek(0)
        return honest(file)

    monkeypatch.setattr(digests_module, "_hash", watched)
    monkeypatch.setattr(digests_module, "LARGE", 10)
    monkeypatch.setattr(digests_module, "_SETTLED", -1)
    return seen


def digest(cache: Path, path: Path) -> bytes:
    with path.open("rb") as file:
        return Digests(cache)(path, file)


def write(path: Path, content: bytes) -> Path:
    time.sleep(0.02)  # longer than the resolution of file times
    path.write_bytes(content)
    return path


def test_a_large_file_is_hashed_once(tmp_path: Path, hashed: list[bytes]) -> None:
    one, other = write(tmp_path / "one", b"a" * 20), write(tmp_path / "other", b"b" * 20)
    first = [digest(tmp_path / "cache", path) for path in (one, other)]
    assert [digest(tmp_path / "cache", path) for path in (one, other)] == first
    assert first[0] != first[1]
    assert hashed == [b"a" * 20, b"b" * 20]
    assert digest(tmp_path / "cache", write(tmp_path / "copy", b"a" * 20)) == first[0]


def test_a_change_of_equal_size_and_time_is_seen(tmp_path: Path, hashed: list[bytes]) -> None:
    path = write(tmp_path / "file", b"a" * 20)
    before, state = digest(tmp_path, path), path.stat()
    write(path, b"b" * 20)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    assert digest(tmp_path, path) != before


def test_small_and_fresh_files_are_not_kept(
    tmp_path: Path, hashed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = write(tmp_path / "small", b"a" * 9), write(tmp_path / "large", b"a" * 10)
    digest(tmp_path, small)
    monkeypatch.setattr(digests_module, "_SETTLED", 10**12)
    digest(tmp_path, large)
    assert {path.name for path in tmp_path.iterdir()} == {"small", "large"}


def test_a_folder_that_cannot_be_used_does_no_harm(tmp_path: Path, hashed: list[bytes]) -> None:
    path = write(tmp_path / "file", b"a" * 20)
    first = digest(tmp_path / "file", path)  # a file, so the cache cannot be written
    damaged = ("{", "[]", json.dumps({str(path): [1]}), json.dumps({str(path): {"stamp": _stamp(path), "hash": "x"}}))
    for content in damaged:
        (tmp_path / "digests.json").write_text(content)
        assert digest(tmp_path, path) == first
    assert len(hashed) == 5
    assert digest(tmp_path, path) == first
    assert len(hashed) == 5


def _stamp(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
