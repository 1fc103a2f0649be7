"""Tests of commands in bad circumstances: closed streams, a full disk, few file handles and little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from nmt.config.load import save_config
from tests.e2e.conftest import ENVIRONMENT, executable
from tests.forked import end_server, forked
from tests.torture.calls import Outcome
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    yield
    end_server()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with text, a configuration and a run that was trained with every standard stream closed."""
    folder = tmp_path_factory.mktemp("place")
    config = tiny_config(folder, training__keep_last=2)
    save_config(config, folder / "config.yaml")
    ended = started("nmt-train", [folder / "config.yaml"], closed=(0, 1, 2))
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert (folder / "run" / "checkpoints" / "last").read_text() == "step-0000000006\n"
    return folder


def started(
    name: str,
    arguments: Sequence[object],
    closed: Sequence[int] = (),
    limit: tuple[int, int] | None = None,
    environment: Mapping[str, str] = {},
    text: str | None = None,
) -> Outcome:
    """Start an installed command anew, for what depends on how Python and libraries are loaded."""

    def prepare() -> None:
        for descriptor in closed:
            os.close(descriptor)
        if limit is not None:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    ended = subprocess.run(
        [executable(name), *map(str, arguments)],
        env=ENVIRONMENT | environment,
        input=text,
        capture_output=True,
        text=True,
        preexec_fn=prepare,
        timeout=240,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr, 0)


def failure(name: str, ended: Outcome) -> str:
    """Check that a command failed with one sentence, and return it."""
    assert ended.status == 1, ended.err
    assert "Traceback" not in ended.err, ended.err
    *said, sentence = ended.err.splitlines()
    assert sentence.startswith(f"{name}: error: ")
    assert not any("error" in line for line in said), ended.err
    return sentence.removeprefix(f"{name}: error: ")


def command(name: str, place: Path) -> list[object]:
    """Return the arguments with which a command prints something."""
    run, texts = place / "run", [place / "text" / f"val.{language}" for language in ("aa", "bb")]
    both = ["--source", texts[0], "--reference", texts[1]]
    return {
        "nmt-train": [place / "config.yaml", "--cfg", "job"],
        "nmt-prepare": [place / "config.yaml"],
        "nmt-translate": [run, "-i", texts[0]],
        "nmt-evaluate": [run, *both],
        "nmt-compare": [run, *both, "-o", place / "report"],
        "nmt-align": [run, "--source", texts[0], "--target", texts[1]],
        "nmt-heads": [run, "--source", texts[0], "--target", texts[1]],
        "nmt-average": [run, "--force", "--of", "last"],
        "nmt-export": [run],
        "nmt-shortlist": [run],
    }[name]


NAMES = ["nmt-train", "nmt-prepare", "nmt-translate", "nmt-evaluate", "nmt-compare", "nmt-align", "nmt-heads",
         "nmt-average", "nmt-export", "nmt-shortlist"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_only_a_closed_standard_output_is_an_error(name: str, place: Path) -> None:
    sentence = failure(name, forked(name, command(name, place), closed=(1,)))
    assert sentence.startswith("standard output is closed: ")
    assert name != "nmt-translate" or sentence.endswith("closed: give the file to write with -o FILE")
    ended = forked(name, command(name, place), closed=(0, 2))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out


def test_a_stream_is_translated_without_standard_error(place: Path) -> None:
    lines = made_up_lines(3, seed=1)
    ended = started("nmt-translate", [place / "run"], closed=(2,), text="\n".join(lines) + "\n")
    assert (ended.status, ended.out.count("\n"), ended.err) == (0, 3, "")
    output = place / "translations"
    ended = forked("nmt-translate", [place / "run", "-i", place / "text" / "val.aa", "-o", output], closed=(0, 1, 2))
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert output.read_text("utf-8").count("\n") == 9


@pytest.mark.parametrize("name", ["nmt-translate", "nmt-evaluate"])
def test_a_closed_standard_input_is_one_sentence(name: str, place: Path) -> None:
    scored = ["--hypothesis", "-", "--reference", place / "text" / "val.bb"]
    ended = forked(name, scored if name == "nmt-evaluate" else [place / "run"], closed=(0,))
    assert failure(name, ended).startswith("standard input is closed: give the file to ")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Check a process that closed the streams itself, so that Python still has objects for them."""
    script = (
        "import os, sys\n"
        "from nmt.cli.common import Parser, run_command\n"
        "from nmt.messages import tell\n"
        "def command(arguments):\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        tell('a message')\n"
        "        os.write(2, b'a message of a library')\n"
        "        file.write(f'{file.fileno() > 2}, {sys.stdin}, {sys.stderr}')\n"
        "os.close(0)\n"
        "os.close(2)\n"
        "sys.exit(run_command(Parser('nmt-x', '', ''), command, []))"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], cwd=ROOT)
    assert ended.returncode == 0
    assert (tmp_path / "file").read_text() == "True, None, None"


@pytest.mark.parametrize("name", ["nmt-train", "nmt-translate", "nmt-align"])
def test_a_full_disk_behind_standard_output_is_named(name: str, place: Path) -> None:
    ended = forked(name, command(name, place), stdout="/dev/full")
    assert failure(name, ended) == "standard output could not be written: No space left on device"


# the largest size of a file, the command, its arguments (R: the run, P: its folder), and the file that is too large
WRITTEN: list[tuple[int, str, list[str], str]] = [
    (100, "nmt-train", ["P/config.yaml", "run_dir=O/new"], "O/new/environment.json"),
    (5000, "nmt-train", ["P/config.yaml", "run_dir=O/new"], "O/new/tensorboard/events.out.tfevents."),
    (5000, "nmt-train", ["P/config.yaml", "run_dir=O/new", "training.log_every=100"], "O/new/tensorboard/events.out."),
    (100, "nmt-prepare", ["P/config.yaml", "data.cache=O/cache"], "O/cache/"),
    (100, "nmt-prepare", ["P/config.yaml", "data.cache=O/cache", "data.workers=2"], "O/cache/"),
    (100, "nmt-prepare", ["P/config.yaml", "--report", "O/card.html"], "O/card.json"),
    (10, "nmt-translate", ["R", "-o", "O/out"], "O/out"),
    (100, "nmt-translate", ["R", "-i", "P/text/val.aa", "-o", "O/out"], "O/out.parts/job.json"),
    (100, "nmt-evaluate", ["R", "--source", "P/text/train.aa", "--reference", "P/text/train.bb"], "R/evaluations/"),
    (100, "nmt-compare", ["R", "--source", "P/text/train.aa", "--reference", "P/text/train.bb", "-o", "O/report"],
     "R/evaluations/"),
    (10, "nmt-align", ["R", "--source", "P/text/val.aa", "--target", "P/text/val.bb", "-o", "O/links"], "O/links"),
    (10, "nmt-heads", ["R", "--source", "P/text/val.aa", "--target", "P/text/val.bb", "-o", "O/table"], "O/table"),
    (100, "nmt-average", ["R", "--force", "--of", "last"], "R/checkpoints/averaged-0000000006"),
    (100, "nmt-export", ["R", "-o", "O/export"], "O/export"),
    (100, "nmt-shortlist", ["R"], "R/shortlist.safetensors"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "name", "arguments", "file"), WRITTEN)
def test_a_full_disk_is_one_sentence_that_names_the_file(
    size: int, name: str, arguments: list[str], file: str, place: Path, tmp_path: Path
) -> None:
    names = {"P": place, "R": place / "run", "O": tmp_path}

    def filled_in(text: str) -> str:
        key, equals, value = text.rpartition("=")
        first, slash, rest = value.partition("/")
        return f"{key}{equals}{names.get(first, first)}{slash}{rest}"

    lines = "\n".join(made_up_lines(30, seed=1)) + "\n"
    ended = forked(name, list(map(filled_in, arguments)), text=lines, limit=(resource.RLIMIT_FSIZE, size))
    sentence = failure(name, ended)
    assert sentence.startswith(filled_in(file)), sentence
    assert "could not be written: " in sentence
    assert "File too large" in sentence


@pytest.mark.parametrize(
    ("limit", "name", "more", "reason"),
    [
        ((resource.RLIMIT_NOFILE, 28), "nmt-train", ["training.workers=4"], "Too many open files"),
        ((resource.RLIMIT_NOFILE, 12), "nmt-translate", ["--workers", "2"], "Too many open files"),
        ((resource.RLIMIT_AS, 300 << 20), "nmt-train", [], "failed to map segment from shared object"),
        ((resource.RLIMIT_AS, 300 << 20), "nmt-translate", [], "failed to map segment from shared object"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_with_its_reason(
    limit: tuple[int, int], name: str, more: list[str], reason: str, place: Path, tmp_path: Path
) -> None:
    arguments: dict[str, list[object]] = {
        "nmt-train": [place / "config.yaml", f"run_dir={tmp_path / 'new'}"],
        "nmt-translate": [place / "run", "-i", place / "text" / "val.aa", "-o", tmp_path / "out"],
    }
    sentence = failure(name, started(name, [*arguments[name], *more], limit=limit))
    assert reason in sentence, sentence
    assert not any(word in sentence for word in ("remove", "delete", "truncated", "corrupted", "damaged"))


@pytest.mark.parametrize("name", ["nmt-translate", "nmt-compare"])
def test_names_and_signs_beyond_ascii_need_no_locale(name: str, place: Path) -> None:
    folder = place / "ünï 語"
    if not folder.exists():
        folder.mkdir()
        (folder / "run").symlink_to(place / "run")
    arguments = {
        "nmt-translate": [folder / "run", "--engine", "ctranslate2", "-i", place / "text" / "val.aa"],
        "nmt-compare": [*command("nmt-compare", place)[:-1], folder / "réport"],  # prints a delta
    }
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = started(name, arguments[name], environment=plain)
    assert (ended.status, "Traceback" in ended.err) == (0, False), ended.err
    assert ended.out
