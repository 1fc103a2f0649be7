"""nmt-translate: what goes in and comes out, and how it fails."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from nmt.cli import translate
from nmt.translate import Translator
from tests.toy_run import MAX_TOKENS, made_up_lines, make_run

ROOT = Path(__file__).resolve().parents[2]
LINES = [*made_up_lines(7, seed=8, longest=5), "", "ba\u2028de\x0bki\x85.", *made_up_lines(2, seed=9)]


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
    monkeypatch.setattr(translate, "BLOCK", size)
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


def test_n_best_as_json_lines(run: Path, expected: list[str], call) -> None:
    answers = [json.loads(line) for line in call(run, "--n-best", 2, stdin=text(LINES).encode()).out.split("\n")[:-1]]
    assert [answer["line"] for answer in answers] == list(range(1, len(LINES) + 1))
    assert [answer["source"] for answer in answers] == LINES
    assert [answer["hypotheses"][0]["text"] for answer in answers] == expected
    meant = Translator.load(run, device="cpu").translate_nbest(LINES, 2)
    for answer, translation in zip(answers, meant, strict=True):
        assert [(one["text"], one["finished"]) for one in answer["hypotheses"]] == [
            (one.text, one.finished) for one in translation.hypotheses
        ]
        for key in ("log_prob", "score"):
            found = [one[key] for one in answer["hypotheses"]]
            assert found == pytest.approx([getattr(one, key) for one in translation.hypotheses], abs=1e-4)


def test_a_long_line_is_told_on_stderr_by_its_number(run: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "BLOCK", 2)
    answer = call(run, stdin=text(["ba.", "de.", "ki.", "ba de. " * 30]).encode())
    assert answer.out.count("\n") == 4
    assert "nmt-translate: line 4 has " in answer.err
    assert f"more than the {MAX_TOKENS}" in answer.err


def test_invalid_utf8_names_the_line_and_keeps_what_came_before(run: Path, expected, call, tmp_path: Path) -> None:
    spoilt = text(LINES[:3]).encode() + b"ba \xff de\n" + text(LINES[3:]).encode()
    (tmp_path / "in.txt").write_bytes(spoilt)
    answer = call(run, "-i", tmp_path / "in.txt")
    assert answer.status == 1
    assert f"{tmp_path / 'in.txt'}, line 4 is not valid UTF-8" in answer.err
    assert answer.out == text(expected[:3])
    (tmp_path / "out.txt").write_text("older\n")
    assert call(run, "-o", tmp_path / "out.txt", stdin=spoilt).status == 1
    assert (tmp_path / "out.txt").read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.txt"]


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
        (["--beam-size", "0"], "must be 1 or more"),
        (["--beam-size", "two"], "'two'"),
        (["--length-penalty", "nan"], "must be 0 or more"),
        (["--n-best", "7", "--beam-size", "4"], "beam"),
        (["another_run"], "another_run"),
        (["--precision", "int8"], "int8"),
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
    answer = call(run, "--device", "tpu", stdin=b"ba.\n")
    assert answer.status == 1
    assert "tpu" in answer.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_is_answered_line_by_line(run: Path, expected: list[str]) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nmt.cli.translate", str(run), "--device", "cpu"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        for line, answer in list(zip(LINES, expected, strict=True))[:3]:
            os.write(ours, f"{line}\n".encode())
            assert process.stdout.readline().decode() == f"{answer}\n"  # before the next line is typed
        os.write(ours, b"\x04")
        rest, _ = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, b"")
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
