"""Tests of reading input lines in blocks, also from a pipe, checking them and writing the answers to their place."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from nmt.data import long_lines
from nmt.errors import NmtError
from nmt.inference.lines import Line, LineReader, raw_blocks


def texts(data: bytes, size: int = 100, **options: object) -> list[list[str]]:
    reader = LineReader("in", **options)  # type: ignore[arg-type]
    return [[line.text for line in block] for block in reader.blocks(io.BytesIO(data), size)]


def test_only_a_line_feed_ends_a_line() -> None:
    data = "\ufeffa\r\n\n \t\nb\u00a0\u200d\ufeffc\nd".encode()
    assert texts(data) == [["a", "", " \t", "b\u00a0\u200d\ufeffc", "d"]]
    assert texts(data, 2) == [["a", ""], [" \t", "b\u00a0\u200d\ufeffc"], ["d"]]
    assert texts(b"") == []
    assert texts(b"\n" * 7, 3) == [[""] * 3, [""] * 3, [""]]


@pytest.mark.parametrize(
    ("broken", "problem", "replaced"),
    [
        (b"a\xffb", "is not valid UTF-8 (invalid start byte at byte 2 of the line)", "a\ufffdb"),
        (b"a\xc3", "is not valid UTF-8 (unexpected end of data at byte 2 of the line)", "a\ufffd"),
        (b"\x00", "holds U+0000 (NUL) at byte 1 of the line", " "),
        (b"a\x1b[1m", "holds U+001B (escape) at byte 2 of the line", "a [1m"),
        (b"a\rb", "holds U+000D (carriage return) at byte 2 of the line", "a b"),
        ("ä\x85".encode(), "holds U+0085 (NEL) at byte 3 of the line", "ä "),
        ("\u2029".encode(), "holds U+2029 (PARAGRAPH SEPARATOR) at byte 1 of the line", " "),
        (b"\x7f\x07", "holds U+007F (a control character) at byte 1 of the line", "  "),
        (b"\x07\xff", "is not valid UTF-8 (invalid start byte at byte 2 of the line)", " \ufffd"),
    ],
)
def test_broken_lines(broken: bytes, problem: str, replaced: str) -> None:
    data = b"x\n" + broken + b"\ny\n"
    reader, given = LineReader("in"), []
    with pytest.raises(NmtError) as caught:
        for block in reader.blocks(io.BytesIO(data), 100):
            given += [line.text for line in block]
    assert given == ["x"]
    assert str(caught.value) == f"in, line 2 {problem}: fix it, or add --on-error skip or --on-error replace"
    assert texts(data, on_error="skip") == [["x", "", "y"]]
    assert texts(data, on_error="replace") == [["x", replaced, "y"]]


def test_what_was_broken_is_counted() -> None:
    reader = LineReader("in", on_error="skip")
    assert reader.report() is None
    list(reader.blocks(io.BytesIO(b"a\n" + b"\xff\n" * 12), 5))
    assert reader.report() == (
        "in: 12 lines with control characters, broken UTF-8 or over 1,000,000 characters were treated as empty "
        "(--on-error skip): lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."
    )


def test_a_column_is_taken_and_an_answer_appended() -> None:
    reader = LineReader("in", column=2)
    raws = [b"\xff\tab\tc\n", b"a\t\r\n", b"\tx y\t\t "]
    lines = [reader.line(raw, number) for number, raw in enumerate(raws, start=1)]
    assert [line.text for line in lines] == ["ab", "", "x y"]
    answers = [reader.answer(line, b"A\tB") for line in lines]
    assert answers == [b"\xff\tab\tc\tA B\n", b"a\t\tA B\r\n", b"\tx y\t\t \tA B\n"]
    with pytest.raises(NmtError, match=r"in, line 4 has no column 2 \(tab-separated columns found: 1\): fix the line"):
        reader.line(b"a\n", 4)
    with pytest.raises(NmtError, match="at byte 4 of the line"):
        reader.line(b"ab\t\xff\n", 5)
    assert LineReader("in").answer(Line("a", b"a\r\n"), b"A\tB") == b"A\tB\n"


def test_a_file_comes_in_whole_blocks(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"ab\n" * 70_000)
    with (tmp_path / "in").open("rb") as file:
        assert [len(block) for block in raw_blocks(file, 30_000)] == [30_000, 30_000, 10_000]


def test_a_pipe_gives_what_is_there() -> None:
    read, write = os.pipe()
    with open(read, "rb") as source:  # noqa: PTH123 (a descriptor)
        blocks = raw_blocks(source, 3)
        os.write(write, b"a\nb\nc")
        assert next(blocks) == [b"a\n", b"b\n"], "without waiting for the end of the third line"
        os.write(write, b"d\n")
        assert next(blocks) == [b"cd\n"]
        os.write(write, b"1\n2\n3\n4\n5")
        assert next(blocks) == [b"1\n", b"2\n", b"3\n"]
        assert next(blocks) == [b"4\n"]
        os.close(write)
        assert list(blocks) == [[b"5"]]


def test_a_fast_pipe_gives_full_blocks() -> None:
    lines = [b"%d\n" % number for number in range(100_000)]
    read, write = os.pipe()

    def fill() -> None:
        with open(write, "wb") as sink:  # noqa: PTH123 (a descriptor)
            sink.writelines(lines)

    writer = threading.Thread(target=fill)
    writer.start()
    with open(read, "rb") as source:  # noqa: PTH123 (a descriptor)
        blocks = list(raw_blocks(source, 2000))
    writer.join()
    assert [line for block in blocks for line in block] == lines
    assert max(map(len, blocks)) == 2000
    assert len(blocks) < 100, "more than what a pipe holds at once"


def test_a_long_line_in_a_pipe() -> None:
    read, write = os.pipe()
    long = b"x" * 1_000_000 + b"\n"

    def fill() -> None:
        with open(write, "wb") as sink:  # noqa: PTH123 (a descriptor)
            sink.write(long + b"y\n")

    writer = threading.Thread(target=fill)
    writer.start()
    with open(read, "rb") as source:  # noqa: PTH123 (a descriptor)
        assert [line for block in raw_blocks(source, 5) for line in block] == [long, b"y\n"]
    writer.join()


@pytest.mark.parametrize("huge", [b"x" * 1001, b"x" * 100_000, bytes(2_000_000), "😀".encode() * 1001])
def test_a_line_too_long_to_be_read_is_broken(huge: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 1000)
    data = b"a\n" + huge + b"\n" + b"b" * 1000 + b"\n" + huge
    with pytest.raises(NmtError) as caught:
        texts(data)
    refusal = "in, line 2 has more than 1,000 characters, so it cannot be a sentence: fix the file"
    assert str(caught.value) == f"{refusal}, or add --on-error skip"
    assert texts(data, on_error="skip") == texts(data, on_error="replace") == [["a", "", "b" * 1000, ""]]
    with pytest.raises(NmtError) as caught:
        texts(data.replace(b"\n", b"\tc\n"), column=1, on_error="skip")
    assert str(caught.value) == refusal, "since the row before the answer would not stay as it is"
    reader = LineReader("in", on_error="replace")
    assert [line.text for block in reader.blocks(io.BytesIO(data), 2) for line in block][2] == "b" * 1000
    assert str(reader.report()).endswith("U+FFFD, or emptied (--on-error replace): lines 2, 4")


def test_of_a_huge_line_only_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 1000)
    read, write = os.pipe()
    huge = b"x" * 1_000_000
    data = b"a\n" + huge + b"\nb\n" + huge
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as source:
        assert [len(line) for block in raw_blocks(source, 3) for line in block] == [2, 4004, 2, 4004]

    def fill() -> None:
        with open(write, "wb") as sink:  # noqa: PTH123 (a descriptor)
            sink.write(data)

    writer = threading.Thread(target=fill)
    writer.start()
    with open(read, "rb") as source:  # noqa: PTH123 (a descriptor)
        lines = [line for block in raw_blocks(source, 2) for line in block]
    writer.join()
    assert [lines[0], lines[2]] == [b"a\n", b"b\n"]
    assert len(lines) == 4
    assert all(1000 < len(line) < 200_000 for line in lines[1::2])


def test_an_answer_is_one_line_whatever_is_in_it() -> None:
    """Check answers with a line feed, which byte tokens can spell."""
    line = Line("a", b"a\n")
    assert LineReader("in").answer(line, b"one\ntwo") == b"one two\n"
    assert LineReader("in", column=1).answer(line, b"one\ntwo") == b"a\tone two\n"
