"""Checksums of folders: every change of a file is found, and a file that is being replaced is never called damaged."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nmt.checksums import CHECKSUMS, replacing, seal, verify
from nmt.errors import Damaged, NmtError

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(b"")
    seal(tmp_path)
    return tmp_path


def test_what_was_sealed_is_whole(sealed: Path) -> None:
    assert verify(sealed, ["a", "b"])


def test_a_folder_of_an_earlier_version_has_no_checksums(tmp_path: Path) -> None:
    assert not verify(tmp_path, ["a"])


@pytest.mark.parametrize("place", [0, 1, 1000, len(CONTENT) - 1])
@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_found(place: int, bit: int, sealed: Path) -> None:
    content = bytearray(CONTENT)
    content[place] ^= 1 << bit
    (sealed / "a").write_bytes(content)
    with pytest.raises(Damaged, match=re.escape(str(sealed / "a"))):
        verify(sealed, ["a"])
    assert verify(sealed, ["b"])


def test_a_missing_or_unknown_file_is_found(sealed: Path) -> None:
    (sealed / "b").unlink()
    (sealed / "c").write_bytes(CONTENT)
    for name in ("b", "c"):
        with pytest.raises(Damaged, match=re.escape(str(sealed / name))):
            verify(sealed, [name])


@pytest.mark.parametrize("content", ["", "{", "[]", '"a"', '{"a": 1}', "[" * 100_000, "\udcff"])
def test_a_damaged_file_of_checksums_is_named(content: str, sealed: Path) -> None:
    (sealed / CHECKSUMS).write_text(content, "utf-8", "surrogateescape")
    with pytest.raises(Damaged, match=re.escape(str(sealed / CHECKSUMS))):
        verify(sealed, ["a"])


def test_a_pipe_in_the_place_of_a_file_does_not_block(sealed: Path) -> None:
    for name in ("a", CHECKSUMS):
        (sealed / name).unlink()
        os.mkfifo(sealed / name)
        with pytest.raises(Damaged, match=re.escape(str(sealed / name))):
            verify(sealed, ["a"])


def test_a_failure_of_the_system_is_no_damage(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(NmtError, match="Too many open files") as caught:
        verify(sealed, ["a"])
    assert not isinstance(caught.value, Damaged)


def test_a_crash_at_any_moment_of_a_replacement_leaves_a_whole_folder(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, moments = Path.replace, 0

    def look_first(path: Path, target: Path) -> Path:
        nonlocal moments
        moments += 1
        assert verify(sealed), "before the file takes its place"
        done = replace(path, target)
        assert verify(sealed), "after it"
        return done

    monkeypatch.setattr(Path, "replace", look_first)
    with replacing(sealed / "a") as file:
        file.write(b"new")
    assert moments == 3  # checksums of both, the file, checksums of the new content
    assert (sealed / "a").read_bytes() == b"new"
    for content in (CONTENT, b"other"):
        (sealed / "a").write_bytes(content)
        with pytest.raises(Damaged):
            verify(sealed)


def test_replacing_a_file_adds_no_checksums_to_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert not verify(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
