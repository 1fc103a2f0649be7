"""Tests of nmt-translate: its input, output and errors."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import lzma
import os
import pty
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from nmt.cli import translate
from nmt.cli.translate import command
from nmt.inference.translator import Translator
from tests.toy_run import MAX_TOKENS, made_up_lines, make_run

ROOT = Path(__file__).resolve().parents[3]
LINES = [*made_up_lines(7, seed=8, longest=5), "", "ba\u00a0de\u200dki\t\ufeff.", *made_up_lines(2, seed=9)]


class Answer(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("translate") / "run")


@pytest.fixture(scope="module")
def expected(run: Path) -> list[str]:
    return Translator.load(run, device="cpu").translate(LINES)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    def call(*arguments: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = translate.main(["--device", "cpu", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return Answer(status, out.decode(), err.decode())

    return call


def text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_stdin_to_stdout(run: Path, expected: list[str], call) -> None:
    answer = call(run, stdin=text(LINES).encode())
    assert answer.status == 0
    assert answer.out == text(expected)
    assert expected[7] == ""
    assert answer.out.count("\n") == len(LINES)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_blocks_change_nothing(
    run: Path, expected: list[str], call, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(command, "BLOCK", size)
    assert call(run, stdin=text(LINES).encode()).out == text(expected)


def test_files(run: Path, expected: list[str], call, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(LINES).encode())  # a BOM, CRLF, no last line end
    answer = call(run, "-i", tmp_path / "in.txt", "-o", tmp_path / "new" / "out.txt")
    assert (answer.status, answer.out) == (0, "")
    assert (tmp_path / "new" / "out.txt").read_bytes() == text(expected).encode()
    assert f"{len(LINES)} lines" in answer.err


def test_options_reach_the_search(run: Path, call) -> None:
    translator = Translator.load(run, device="cpu")
    arguments = {"--beam-size": 1}, {"--beam-size": 4, "--length-penalty": 0}
    options = {"beam_size": 1}, {"beam_size": 4, "length_penalty": 0.0}
    for given, meant in zip(arguments, options, strict=True):
        answer = call(run, *[word for pair in given.items() for word in pair], stdin=text(LINES).encode())
        assert answer.out == text(translator.translate(LINES, **meant))


def test_any_key_of_the_search_can_be_given(run: Path, call) -> None:
    keys = {"stop": "full", "length_normalisation": "power", "min_length_ratio": "1", "max_length_offset": "5"}
    options = [word for key, value in keys.items() for word in ("--search", f"{key}={value}")]
    answer = call(run, "--beam-size", 2, *options, stdin=text(LINES).encode()).out
    translator = Translator.load(run, device="cpu")
    before = translator.translate(LINES, beam_size=2)
    translator.search = dataclasses.replace(
        translator.search, stop="full", length_normalisation="power", min_length_ratio=1.0, max_length_offset=5
    )
    assert answer == text(translator.translate(LINES, beam_size=2)) != text(before)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("stop", "--search stop should be KEY=VALUE"),
        ("=5", "--search =5 should be KEY=VALUE"),
        ("stop=[", "--search stop=[: a value is not valid YAML"),
        ("beam_size=3", "--search beam_size has an option of its own: give --beam-size"),
        ("stop=${", "--search stop=${: a value cannot be read: "),
        ("stopp=full", "stopp is not a key of search; nearest: stop"),
        ("foo=1", "foo is not a key of search: it has beam_size, length_penalty, "),
        ("max_steps=1", "max_steps is not a key of search: it has beam_size, "),
        ("stop=soon", "search.stop=soon: expected one of full, exact"),
        ("coverage_penalty=-1", "search.coverage_penalty=-1: expected a number from 0 to 100"),
    ],
)
def test_a_wrong_key_of_the_search(run: Path, call, given: str, sentence: str) -> None:
    answer = call(run, "--search", given, stdin=text(LINES).encode())
    assert answer.status == (2 if sentence.startswith("--search") else 1)
    assert sentence in answer.err


def test_n_best_as_json_lines(run: Path, expected: list[str], call) -> None:
    answers = [json.loads(line) for line in call(run, "--n-best", 2, stdin=text(LINES).encode()).out.split("\n")[:-1]]
    assert [answer["line"] for answer in answers] == list(range(1, len(LINES) + 1))
    assert [answer["source"] for answer in answers] == LINES
    assert [answer["hypotheses"][0]["text"] for answer in answers] == expected
    meant = Translator.load(run, device="cpu").nbest(LINES, 2)
    for answer, translation in zip(answers, meant, strict=True):
        assert [(one["text"], one["finished"]) for one in answer["hypotheses"]] == [
            (one.text, one.finished) for one in translation.hypotheses
        ]
        for key in ("log_prob", "score"):
            found = [one[key] for one in answer["hypotheses"]]
            assert found == pytest.approx([getattr(one, key) for one in translation.hypotheses], abs=1e-4)


def test_a_long_line_is_told_on_stderr_by_its_number(run: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BLOCK", 2)
    answer = call(run, stdin=text(["ba.", "de.", "ki.", "ba de. " * 30]).encode())
    assert answer.out.count("\n") == 4
    assert "nmt-translate: line 4 has " in answer.err
    assert f"more than the {MAX_TOKENS}" in answer.err


def test_lines_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "in").open("w+b") as file:
        file.truncate(64 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\nba.\n")
        file.seek(0)
        tracemalloc.start()
        try:
            assert command._count_lines(file) == 2
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert file.tell() == 0
    assert peak < 24 << 20, "of a line of 64 MB"


BROKEN = {
    b"ba \xff de": ("is not valid UTF-8 (invalid start byte at byte 4 of the line)", "ba \ufffd de"),
    b"ba\x00de": ("holds U+0000 (NUL) at byte 3 of the line", "ba de"),
    "ä\u2028de".encode(): ("holds U+2028 (LINE SEPARATOR) at byte 3 of the line", "ä de"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=["bytes", "NUL", "line separator"])
def test_a_broken_line(run: Path, expected: list[str], call, tmp_path: Path, broken: bytes) -> None:
    problem, replaced = BROKEN[broken]
    spoilt = text(LINES[:3]).encode() + broken + b"\n" + text(LINES[3:]).encode()
    (tmp_path / "in.txt").write_bytes(spoilt)
    answer = call(run, "-i", tmp_path / "in.txt")
    assert (answer.status, answer.out) == (1, text(expected[:3])), "what came before it is answered"
    assert answer.err.splitlines()[-1] == (
        f"nmt-translate: error: {tmp_path / 'in.txt'}, line 4 {problem}: "
        "fix it, or add --on-error skip or --on-error replace"
    )
    answer = call(run, "--on-error", "skip", stdin=spoilt)
    assert (answer.status, answer.out) == (0, text([*expected[:3], "", *expected[3:]]))
    broken = "1 line with control characters, broken UTF-8 or over 1,000,000 characters was treated as empty"
    assert f"standard input: {broken}" in answer.err
    assert answer.err.splitlines()[-1].endswith("(--on-error skip): line 4")
    answer = call(run, "--on-error", "replace", stdin=spoilt)
    instead = Translator.load(run, device="cpu").translate([replaced])
    assert (answer.status, answer.out) == (0, text([*expected[:3], *instead, *expected[3:]]))
    assert answer.err.splitlines()[-1].endswith("(--on-error replace): line 4")


def test_an_input_that_cannot_be_read_is_named(run: Path, call, tmp_path: Path) -> None:
    answer = call(run, "-i", "/proc/self/mem", "-o", tmp_path / "out.txt")  # whose first byte cannot be read
    assert (answer.status, answer.err) == (
        1,
        "nmt-translate: error: /proc/self/mem could not be read: Input/output error\n",
    )


def test_a_failure_leaves_an_output_file_as_it_was(run: Path, call, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"ba.\n\xff\n")
    (tmp_path / "out.txt").write_text("older\n")
    assert call(run, "-o", tmp_path / "out.txt", stdin=b"ba.\n\xff\n").status == 1
    answer = call(run, "-i", tmp_path / "in.txt", "-o", tmp_path / "out.txt")
    assert answer.status == 1
    assert "in.txt, line 2 is not valid UTF-8" in answer.err
    assert (tmp_path / "out.txt").read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.txt"]


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_compressed_text_is_read_and_written_by_its_name(
    run: Path, expected: list[str], call, tmp_path: Path, suffix: str
) -> None:
    compress, decompress = {".gz": (gzip.compress, gzip.decompress), ".xz": (lzma.compress, lzma.decompress)}[suffix]
    source, output, plain = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", text(expected)
    source.write_bytes(compress(text(LINES).encode()))
    assert call(run, "-i", source).out == plain
    assert call(run, "-o", output, stdin=text(LINES).encode()).status == 0
    by_stream = output.read_bytes()
    assert decompress(by_stream).decode() == plain
    output.unlink()
    assert call(run, "-i", source, "-o", output).status == 0
    assert output.read_bytes() == by_stream, "the same text makes the same file"
    assert {path.name for path in tmp_path.iterdir()} == {source.name, output.name}
    answer = call(run, "-i", source, "--prefix", source, "--alignments", tmp_path / f"links{suffix}")
    assert answer.status == 0
    links = decompress((tmp_path / f"links{suffix}").read_bytes()).decode()
    assert links.count("\n") == len(LINES)


def test_several_processes_each_decompress_the_text(run: Path, expected: list[str], call, tmp_path: Path) -> None:
    source, output = tmp_path / "in.gz", tmp_path / "out.gz"
    source.write_bytes(gzip.compress(text(LINES * 25).encode()))
    assert call(run, "-i", source, "-o", output, "--workers", 2).status == 0
    assert gzip.decompress(output.read_bytes()).decode() == text(expected * 25)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("cut", [0, 20])
def test_a_damaged_compressed_text_is_one_sentence(run: Path, call, tmp_path: Path, suffix: str, cut: int) -> None:
    source = tmp_path / f"in{suffix}"
    content = {".gz": gzip.compress, ".xz": lzma.compress}[suffix](text(LINES * 9).encode())
    source.write_bytes(content[:-cut] if cut else b"ba.\n")
    for output in ([], ["-o", tmp_path / "deep" / "out"]):
        answer = call(run, "-i", source, *output)
        assert answer.status == 1
        assert answer.err.splitlines()[-1].startswith(
            f"nmt-translate: error: {source} could not be read to its end, it is damaged: "
        )
    assert list(tmp_path.iterdir()) == [source]


def test_a_dash_is_a_stream(
    run: Path, expected: list[str], call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(run, "-i", "-", "-o", "-", stdin=text(LINES).encode()).out == text(expected)
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_named_is_looked_at_before_a_model_is_loaded(
    run: Path, call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "load", lambda *arguments, **options: pytest.fail("a model is loaded"))
    there, none, under_file = tmp_path / "there", tmp_path / "none", tmp_path / "there" / "out"
    there.write_text("ba.\n")
    for arguments, sentence in (
        (["-i", none], f"{none} is missing"),
        (["-i", none, "-o", tmp_path / "new" / "out"], f"{none} is missing"),
        (["-i", there, "--prefix", none], f"{none} is missing"),
        (["-i", there, "--score", none], f"{none} is missing"),
        (["-i", there, "-o", under_file], f"{under_file} cannot be written: {there} should be a folder, but is a file"),
        (["-i", there, "--attention", under_file], f"{under_file} cannot be written"),
        (["-i", there, "-o", tmp_path], f"{tmp_path} is a folder"),
        (["-i", there, "--checkpoint", "7"], "has no checkpoint step-0000000007 (7)"),
        (["-i", there, none], f"{none} does not exist"),
        (["-i", there, "--search", "foo=1"], "foo is not a key of search"),
    ):
        answer = call(run, *arguments)
        assert (answer.status, answer.out) == (1, "")
        assert sentence in answer.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [there]


def test_a_checkpoint_is_named_as_it_is_printed(run: Path, expected: list[str], call) -> None:
    for name in ("step-0000000012", "12", run / "checkpoints" / "step-0000000012", run / "checkpoints" / "best"):
        assert call(run, "--checkpoint", name, stdin=text(LINES).encode()).out == text(expected)


def test_a_column_of_tab_separated_values(run: Path, expected: list[str], call, tmp_path: Path) -> None:
    rows = [f"{number}\t{line}\t \xe4\xff \r\n".encode("latin-1") for number, line in enumerate(LINES[:7])]
    (tmp_path / "in.tsv").write_bytes(b"".join(rows)[:-2] + b"\n7\t" + LINES[0].encode())
    assert call(run, "--tsv", 2, "-i", tmp_path / "in.tsv", "-o", tmp_path / "out.tsv").status == 0
    answers = [row[:-2] + b"\t" + answer.encode() + b"\r\n" for row, answer in zip(rows, expected[:7], strict=True)]
    last = b"7\t" + LINES[0].encode() + b"\t" + expected[0].encode() + b"\n"
    assert (tmp_path / "out.tsv").read_bytes() == b"".join(answers)[:-2] + b"\n" + last
    answer = call(run, "--tsv", 3, "-i", tmp_path / "in.tsv")
    assert answer.status == 1
    assert "in.tsv, line 1 is not valid UTF-8" in answer.err
    answer = call(run, "--tsv", 3, "--on-error", "skip", "-i", tmp_path / "in.tsv", "-o", tmp_path / "new")
    assert answer.status == 1
    assert answer.err.splitlines()[-1] == (
        f"nmt-translate: error: {tmp_path / 'in.tsv'}, line 8 has no column 3 (tab-separated columns found: 2): "
        "fix the line, or choose another column"
    )


def test_no_input_is_an_error_for_a_file_only(run: Path, call, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    answer = call(run, "-i", tmp_path / "empty")
    assert (answer.status, answer.out) == (1, "")
    assert f"{tmp_path / 'empty'} is empty" in answer.err
    answer = call(run, "-i", tmp_path / "missing")
    assert answer.status == 1
    assert str(tmp_path / "missing") in answer.err
    answer = call(run)
    assert (answer.status, answer.out) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "RUN_DIR"),
        (["--beam-size", "0"], "--beam-size: 0: expected a whole number from 1 to 10,000"),
        (["--beam-size", "two"], "two: expected a whole number"),
        (["--length-penalty", "nan"], "nan: expected a number from 0 to 10"),
        (["--beam-size", "99999999999999999999"], "expected a whole number from 1 to 10,000"),
        (["--length-penalty", "-1"], "-1: expected a number from 0 to 10"),
        (["--workers", "-1"], "-1: expected a whole number from 1 to 1,024"),
        (["--sample", "2", "--seed", "9" * 20], "expected a whole number from 0 to 9,223,372,036,854,775,807"),
        (["--n-best", "7", "--beam-size", "4"], "beam"),
        (["--precision", "int4"], "int4"),
        (["--precision", "fp32", "--search", "precision=bf16"], "--precision and --search precision both choose"),
    ],
)
def test_wrong_usage(run: Path, call, arguments: list[str], sentence: str) -> None:
    answer = call(*([run] if arguments else []), *arguments, stdin=b"ba.\n")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("usage: nmt-translate RUN_DIR")
    assert sentence in answer.err.splitlines()[-1]


def test_a_run_that_is_not_there_and_a_device_that_is_not(run: Path, call, tmp_path: Path) -> None:
    answer = call(tmp_path / "none", stdin=b"ba.\n")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("nmt-translate: error: ")
    assert str(tmp_path / "none") in answer.err
    (tmp_path / "text").write_text("ba.\n")
    answer = call(tmp_path / "none", "-i", tmp_path / "text", "-o", tmp_path / "out")
    assert answer.status == 1
    assert f"{tmp_path / 'none'} does not exist" in answer.err
    for device in ("tpu", "cpu:7", "cpu:", "cpu:x"):
        answer = call(run, "--device", device, stdin=b"ba.\n")
        assert answer.status == 1
        assert f"there is no {device} device here" in answer.err


@pytest.mark.parametrize(
    ("redirections", "sentence"),
    [
        ("-o {text} < {text}", "-o {text} is the input itself: choose another file to write"),
        ("--prefix {none} -o {out} < {text}", "{none} is missing"),
    ],
)
def test_streams_that_cannot_be_used(run: Path, tmp_path: Path, redirections: str, sentence: str) -> None:
    places = {name: tmp_path / name for name in ("text", "none", "out")}
    places["text"].write_text("ba.\n")
    command = f"{sys.executable} -m nmt.cli.translate {run} --device cpu {redirections.format(**places)}"
    answer = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode in (1, 2)
    assert answer.stderr.splitlines()[-1] == f"nmt-translate: error: {sentence.format(**places)}"
    assert (places["text"].read_text(), places["out"].exists()) == ("ba.\n", False)


def start(run: Path, stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nmt.cli.translate", str(run), "--device", "cpu"],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def answer_before_the_next(
    process: subprocess.Popen[bytes], write: Callable[[bytes], object], expected: list[str]
) -> None:
    assert process.stdout is not None
    for line, answer in list(zip(LINES, expected, strict=True))[:3]:
        write(f"{line}\n".encode())
        assert process.stdout.readline().decode() == f"{answer}\n"


def test_a_terminal_is_answered_line_by_line(run: Path, expected: list[str]) -> None:
    ours, theirs = pty.openpty()
    with start(run, theirs) as process:
        try:
            answer_before_the_next(process, lambda data: os.write(ours, data), expected)
            os.write(ours, b"\x04")
            rest, said = process.communicate(timeout=60)
            assert (process.returncode, rest) == (0, b"")
            waiting = "nmt-translate: reading sentences from the terminal, one per line; press Ctrl-D to end"
            assert waiting in said.decode().splitlines()
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_a_slow_pipe_is_answered_line_by_line_until_a_signal(run: Path, expected: list[str]) -> None:
    with start(run, subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            pipe = process.stdin.fileno()
            answer_before_the_next(process, lambda data: os.write(pipe, data), expected)
            os.write(pipe, b"ba de")  # the beginning of a line
            process.send_signal(signal.SIGTERM)
            rest, said = process.communicate(timeout=60)
            assert (process.returncode, rest) == (143, b"")
            assert said.decode().splitlines()[-1] == "nmt-translate: stopped by SIGTERM"
            assert b"terminal" not in said
        finally:
            process.kill()
