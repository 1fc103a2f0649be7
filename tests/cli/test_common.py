"""Tests of how commands end: the exit status and the message on stderr for every kind of failure."""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from nmt import __version__
from nmt.cli.common import Parser, run_command, several_processes
from nmt.errors import ConfigError, UsageError

ROOT = Path(__file__).resolve().parents[2]


def parser() -> Parser:
    made = Parser("nmt-x", "CONFIG [key=value ...] [--100%]", "Does nothing.")
    made.add_config()
    made.add_argument("--flag", action="store_true")
    return made


def raising(error: BaseException) -> Callable[[Namespace], NoReturn]:
    def command(arguments: Namespace) -> NoReturn:
        raise error

    return command


def test_status_and_arguments_in_any_order() -> None:
    seen: list[Namespace] = []
    assert run_command(parser(), seen.append, ["c", "a=1", "--flag", "b=2"]) == 0
    assert (seen[0].config, seen[0].overrides, seen[0].flag) == ("c", ["a=1", "b=2"], True)
    assert run_command(parser(), lambda arguments: 7, ["c"]) == 7


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ConfigError("seed=x: expected a whole number"), 1, "nmt-x: error: seed=x: expected a whole number\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 1, "nmt-x: error: a.txt: No such file\n"),
        (MemoryError(), 1, "nmt-x: error: out of memory: "),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "nmt-x: error: out of memory: "),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, "nmt-x: error: out of memory: "),
        (OSError(24, "Too many open files"), 1, "nmt-x: error: the system refused a file, memory, a thread or a "
         "process (Too many open files): raise its limits"),
        (ImportError("x.so: failed to map segment from shared object"), 1, "nmt-x: error: the system refused "),
        (RuntimeError("can't start new thread"), 1, "nmt-x: error: the system refused "),
        (KeyboardInterrupt(), 130, "nmt-x: interrupted\n"),
        (SystemExit(143), 143, ""),
    ],
)  # fmt: skip
def test_failure_is_one_line(
    error: BaseException, status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(parser(), raising(error), ["c"]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(sentence) and err.count("\n") == (1 if sentence else 0)


@pytest.mark.parametrize("argv", [[], ["c", "--nothing"], ["c", "--fla"]])
def test_wrong_usage_is_a_usage_line_and_a_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parser(), lambda arguments: 0, argv) == 2
    check_usage(capsys)


def test_usage_error_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parser(), raising(UsageError("give one")), ["c"]) == 2
    assert check_usage(capsys) == "nmt-x: error: give one"


def check_usage(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    usage, sentence = err.splitlines()
    assert out == "" and usage == "usage: nmt-x CONFIG [key=value ...] [--100%]"
    assert sentence.startswith("nmt-x: error: ")
    return sentence


@pytest.mark.parametrize(("size", "several"), [(None, False), ("", False), ("1", False), ("3", True)])
def test_processes_of_torchrun_are_counted(size: str | None, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert several_processes() == several
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(UsageError, match="WORLD_SIZE=many is no number of processes: unset it"):
        several_processes()


def test_errors_that_are_ours_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(parser(), raising(ZeroDivisionError()), ["c"])


@pytest.mark.parametrize(("option", "text"), [("--version", f"nmt {__version__}"), ("--help", "usage: nmt-x")])
def test_help_and_version(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parser(), lambda arguments: 1, [option]) == 0
    assert capsys.readouterr().out.startswith(text)


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_reader_that_leaves_ends_it_quietly() -> None:
    process = python(
        "import sys; from nmt.cli.common import Parser, run_command\n"
        "def command(arguments):\n"
        "    for line in range(10**6): print(line)\n"
        "sys.exit(run_command(Parser('nmt-x', '', ''), command, []))"
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_help_does_not_load_torch() -> None:
    process = python(
        "import sys; from nmt.cli.train import main\n"
        "assert main(['--help']) == 0 and main([]) == 2\n"
        "sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "multi30k_de_en" in out
