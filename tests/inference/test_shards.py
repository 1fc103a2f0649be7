"""Tests of shards: each line is in exactly one, and they are joined in order and never mixed with another job's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from nmt.data import long_lines
from nmt.errors import NmtError
from nmt.inference import shards as module
from nmt.inference.shards import Shards, open_shards, read_source

JOB = {"model": "m", "--beam-size": 5}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards of 20 lines instead of 2,000."""
    monkeypatch.setattr(module, "LINES", 20)
    monkeypatch.setattr(module, "GRID", 5)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Return a file of 93 lines of several lengths, without an end of line after the last one."""
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
    """Finish the next `count` shards, or all of them; the answer to a line is the line in angle brackets."""
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


@pytest.mark.parametrize("place", [0, 4, 5, 42, 92])
def test_shards_begin_where_lines_do_also_after_a_huge_line(
    text: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 20)
    whole = text.read_bytes().split(b"\n")
    text.write_bytes(b"\n".join([*whole[:place], b"x" * 5000, *whole[place + 1 :]]))
    with opened(text) as shards, text.open("rb") as file:
        read = [raw.removesuffix(b"\n") for index in shards.unfinished() for raw in shards.read(file, index)]
    assert 20 < len(read[place]) < 100
    assert [*read[:place], whole[place], *read[place + 1 :]] == whole


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
        assert shards.take(3), "a shard that is reserved but never finished"
    kept = sorted(text.with_name("out.parts").glob("shard-*"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    with opened(text, resume=True, processes=9) as shards:  # a new job for 9 processes would have smaller shards
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
        pytest.raises(NmtError, match="another --beam-size: run the same command as before, or delete"),
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


def shard(text: Path, index: int) -> Path:
    return text.with_name("out.parts") / f"shard-{index:07}"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def lose_a_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def change_a_letter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"xx", b"xy", 1))


def put_another_in_its_place(path: Path) -> None:
    shutil.copy(path.with_name("shard-0000000"), path)


DAMAGES = [cut, lose_a_line, change_a_letter, put_another_in_its_place, lambda path: path.write_bytes(b"")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_done_again(text: Path, damage: Callable[[Path], None]) -> None:
    with opened(text) as shards:
        work(shards, 3)
    damage(shard(text, 1))
    said: list[str] = []
    with opened(text, resume=True) as shards:
        shards.drop_damaged(said.append)
        assert said == [f"{shard(text, 1)} is damaged: its lines are translated again"]
        assert shards.unfinished() == [1, 3, 4]
        work(shards)
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == answers(text)


@pytest.mark.parametrize("damage", [*DAMAGES, Path.unlink])
def test_no_damaged_shard_is_joined(text: Path, damage: Callable[[Path], None]) -> None:
    text.with_name("out").write_bytes(b"older\n")
    with pytest.raises(NmtError, match=r"shard-0000001 was damaged after .* --resume"), opened(text) as shards:
        work(shards)
        damage(shard(text, 1))
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == b"older\n"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in", "out", "out.parts"]
    with opened(text, resume=True) as shards:
        shards.drop_damaged(lambda _: None)
        work(shards)
        shards.join(text.with_name("out"))
    assert text.with_name("out").read_bytes() == answers(text)


def test_shards_of_another_job_are_not_taken_for_those_of_this_one(text: Path, tmp_path: Path) -> None:
    with opened(text) as shards:
        work(shards, 1)
    (tmp_path / "elsewhere").mkdir()
    other = Path(shutil.copy(text, tmp_path / "elsewhere"))
    with opened(other, job={**JOB, "--beam-size": 4}) as shards:
        work(shards, 1)
    shutil.copy(shard(other, 0), shard(text, 0))
    with opened(text, resume=True) as shards:
        shards.drop_damaged(lambda _: None)
        assert shards.finished() == set()


@pytest.mark.parametrize(
    "change", [{"lines_of_a_shard": 40}, {"job": {**JOB, "source": "other"}}, {"checksum": None}, {"more": 1}]
)
def test_a_changed_job_is_refused(text: Path, change: dict[str, object]) -> None:
    with opened(text) as shards:
        work(shards, 2)
    path = text.with_name("out.parts") / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with (
        pytest.raises(
            NmtError, match=r"job\.json is missing or damaged, or was changed.*: delete the folder and start"
        ),
        opened(text, resume=True),
    ):
        pass
    assert len(list(path.parent.glob("shard-*"))) == 2


def test_a_shard_has_an_answer_for_each_line(text: Path) -> None:
    with opened(text) as shards:
        for wrong in ([b"one\n"] * 19, [b"one\n"] * 21, [b"two\nlines\n", *[b"one\n"] * 19], [b"no end"] * 20):
            with pytest.raises(NmtError, match="in was changed while it was translated"):
                shards.write(0, wrong)
        assert shards.finished() == set()


def test_the_work_lies_beside_what_a_link_leads_to(text: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    text.with_name("out").symlink_to(tmp_path / "disk" / "target")
    with opened(text) as shards:
        assert shards.folder == tmp_path / "disk" / "target.parts"
        work(shards)
        shards.join(text.with_name("out"))
    assert text.with_name("out").is_symlink()
    assert (tmp_path / "disk" / "target").read_bytes() == answers(text)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["target"]


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
        from nmt.inference.shards import open_shards, read_source
        source = Path(sys.argv[1])
        with open_shards(source.with_name("out"), read_source(source, lambda *_: None), {}, False):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(text)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(NmtError, match=r"another process is working in .*out\.parts"), opened(text, True):
            pass
        assert (text.with_name("out.parts") / "job.json").exists()
        process.communicate("")
    with opened(text) as shards:
        work(shards)
