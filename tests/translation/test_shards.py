"""Shards: every line in one of them, kept or absent, joined in order, and never mixed with those of another job."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from nmt.errors import NmtError
from nmt.translation import shards as module
from nmt.translation.shards import Shards, open_shards, read_source

JOB = {"model": "m", "--beam-size": 5}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of some lines, not of thousands."""
    monkeypatch.setattr(module, "LINES", 20)
    monkeypatch.setattr(module, "GRID", 5)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """93 lines of several lengths, the last one without an end."""
    path = tmp_path / "in"
    path.write_bytes(b"\n".join(b"x" * (number % 7) + b"%d" % number for number in range(93)))
    return path


@contextmanager
def opened(
    text: Path, resume: bool = False, processes: int = 1, job: dict[str, object] | None = None
) -> Iterator[Shards]:
    source = read_source(text, lambda raw, number: None)
    with open_shards(text.with_name("out"), source, JOB if job is None else job, resume, processes) as shards:
        yield shards


def work(shards: Shards, count: int | None = None) -> None:
    """Answer to so many shards, every line by itself in brackets."""
    with shards.source.open("rb") as file:
        for index in islice(shards.unfinished(), count):
            assert shards.take(index)
            lines = [raw.removesuffix(b"\n") for raw in shards.read(file, index)]
            shards.write(index, [b"<" + line + b">\n" for line in lines])


def answers(text: Path) -> bytes:
    return b"".join(b"<" + line + b">\n" for line in text.read_bytes().split(b"\n"))


def test_reading_gives_every_line_with_its_number(text: Path) -> None:
    seen: list[tuple[bytes, int]] = []
    source = read_source(text, lambda raw, number: seen.append((raw, number)))
    assert b"".join(raw for raw, _ in seen) == text.read_bytes()
    assert [number for _, number in seen] == list(range(1, 94))
    assert source.lines == 93
    assert list(source.offsets) == [sum(len(raw) for raw, _ in seen[:place]) for place in range(0, 93, 5)]


@pytest.mark.parametrize(("processes", "sizes"), [(1, [20] * 4 + [13]), (2, [15] * 6 + [3]), (50, [5] * 18 + [3])])
def test_shards_hold_every_line_and_are_joined_in_order(text: Path, processes: int, sizes: list[int]) -> None:
    with opened(text, processes=processes) as shards, text.open("rb") as file:
        assert [len(shards.read(file, index)) for index in shards.unfinished()] == sizes
        for index in reversed(shards.unfinished()):
            shards.write(index, [b"<" + raw.removesuffix(b"\n") + b">\n" for raw in shards.read(file, index)])
        assert shards.unfinished() == []
        assert shards.finished_lines() == 93
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == answers(text)
    assert sorted(path.name for path in text.parent.iterdir()) == ["in", "out"]


def test_what_is_finished_is_not_done_again(text: Path) -> None:
    with opened(text) as shards:
        work(shards, 2)
        assert shards.take(3), "what is taken, but never finished"
    kept = sorted(text.with_name("out.parts").glob("shard-*"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    with opened(text, resume=True, processes=9) as shards:  # which would have smaller ones
        assert shards.unfinished() == [2, 3, 4]
        assert shards.finished_lines() == 40
        work(shards)
        assert [path.stat().st_mtime_ns for path in kept] == stamps
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == answers(text)


def test_a_shard_is_taken_once(text: Path) -> None:
    with opened(text) as shards:
        assert [shards.take(index) for index in (0, 1, 0, 1)] == [True, True, False, False]


def test_a_failure_in_the_middle_of_a_shard_leaves_none_of_it(text: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), opened(text) as shards:
        work(shards, 1)
        shards.write(1, broken())
    folder = text.with_name("out.parts")
    assert sorted(path.name for path in folder.glob("*shard*")) == ["shard-0000000"]


def test_nothing_finished_leaves_nothing_behind(text: Path) -> None:
    with opened(text) as shards:
        shards.take(0)
    assert not text.with_name("out.parts").exists()


def test_a_part_is_neither_overwritten_nor_mixed_with_another(text: Path) -> None:
    with opened(text) as shards:
        work(shards, 1)
    with (
        pytest.raises(NmtError, match=r"out\.parts holds a part of an earlier translation: add --resume"),
        opened(text),
    ):
        pass
    other = {**JOB, "--beam-size": 4}
    with (
        pytest.raises(NmtError, match="another --beam-size: call it as before, or delete"),
        opened(text, True, 1, other),
    ):
        pass
    with pytest.raises(NmtError, match="another model and another --beam-size"), opened(text, True, 1, {"new": None}):
        pass
    text.write_bytes(b"y" + text.read_bytes()[1:])
    with pytest.raises(NmtError, match="with another source:"), opened(text, True):
        pass
    (text.with_name("out.parts") / "job.json").write_text("{")
    with pytest.raises(NmtError, match=r"job\.json is missing or damaged"), opened(text, True):
        pass
    assert len(list(text.with_name("out.parts").glob("shard-*"))) == 1


def test_a_source_that_changes_meanwhile_is_noticed(text: Path) -> None:
    text.with_name("out").write_bytes(b"older\n")
    with pytest.raises(NmtError, match="in was changed while it was translated"), opened(text) as shards:
        work(shards)
        text.write_bytes(b"another\n")
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == b"older\n"


def test_one_at_a_time(text: Path) -> None:
    holder = """
        import sys
        from pathlib import Path
        from nmt.translation.shards import open_shards, read_source
        source = Path(sys.argv[1])
        with open_shards(source.with_name("out"), read_source(source, lambda *_: None), {}, False):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(text)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(NmtError, match=r"another process is at .*out\.parts"), opened(text, True):
            pass
        assert (text.with_name("out.parts") / "job.json").exists()
        process.communicate("")
    with opened(text) as shards:
        work(shards)
