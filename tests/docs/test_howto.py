"""Run the commands of docs/howto.md in order, and check that they create the files that the page promises."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from nmt.resources import presets
from tests.docs.page import Block, blocks
from tests.docs.workplace import copy_lines, write_corpus, write_my_text, write_presets

ANSWERS = blocks("howto.md")


class Command(NamedTuple):
    """A command line, [NAME=VALUE ...] words [> FILE], with its input and the file that the page promises."""

    environment: dict[str, str]
    words: list[str]
    stdin: str
    stdout: str | None
    leaves: str | None

    @classmethod
    def parse(cls, line: str) -> Command:
        """Parse a line such as `echo a | nmt-translate runs/my > out.en   # -> out.en`."""
        line, _, leaves = line.partition("# -> ")
        piped, _, command = line.rpartition(" | ")
        words = shlex.split(command)
        environment = dict(word.split("=", 1) for word in words if re.match("[A-Z_]+=", word))
        words = words[len(environment) :]
        stdout = words.pop() if words[-2:-1] == [">"] else None
        words = [word for word in words if word != ">"]
        words = [found for word in words for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        stdin = subprocess.check_output(shlex.split(piped), text=True) if piped else ""
        return cls(environment, words, stdin, stdout, leaves.strip() or None)

    def run(self) -> int:
        """Run the command and return its exit status. Commands of nmt run in this process."""
        name, *arguments = self.words
        if name.startswith("nmt-"):
            return int(import_module(f"nmt.cli.{name.removeprefix('nmt-')}").main(arguments))
        done = subprocess.run(self.words, capture_output=True, text=True)
        sys.stdout.write(done.stdout)
        return done.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with the files that the page assumes: presets, text, and translations of another toolkit."""
    folder = tmp_path_factory.mktemp("howto")
    shutil.copytree(presets(), folder / "configs")
    example = folder / "configs" / "example.yaml"
    limit = "  max_epochs: 30 "
    assert limit in example.read_text("utf-8")
    example.write_text(example.read_text("utf-8").replace(limit, "  max_epochs: 3 "), "utf-8")  # to be quick
    write_presets(folder)
    write_my_text(folder)
    write_corpus(folder / "medical", train=30, val=2, test=2, skip=2)
    shutil.copy(folder / "my_text" / "test.de", folder / "in.de")
    for name in ("theirs.en", "second.en"):
        shutil.copy(folder / "my_text" / "test.en", folder / name)
    for language in ("de", "en"):
        copy_lines(f"train.{language}", folder / "my_text" / f"news.{language}", 40, skip=100)
    texts = [(folder / "my_text" / f"news.{language}").read_text("utf-8").splitlines() for language in ("de", "en")]
    rows = [{"translation": {"de": source, "en": target}} for source, target in zip(*texts, strict=True)]
    (folder / "my_hub").mkdir()
    (folder / "my_hub" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda block: block.heading)
def test_answer(
    answer: Block, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    if answer.language == "python":
        exec(compile(answer.code, answer.heading, "exec"), {"__name__": "example"})
        assert capfd.readouterr().out
        return
    for line in answer.code.splitlines():
        command = Command.parse(line)
        if command.leaves and not command.leaves.startswith("runs/"):
            Path(command.leaves).unlink(missing_ok=True)  # may exist from an earlier answer
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(command.stdin.encode())))
        for name, value in command.environment.items():
            monkeypatch.setenv(name, value)
        status = command.run()
        out, err = capfd.readouterr()
        assert status == 0, err
        if command.stdout:
            Path(command.stdout).write_text(out, encoding="utf-8")
        assert Path(command.leaves).exists() if command.leaves else out, err


def test_the_page_answers_at_least_twenty_questions() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "howto.md").read_text("utf-8")
    questions = re.findall(r"^## (.+)$", page, re.M)
    assert len(questions) >= 20
    assert questions == list(dict.fromkeys(answer.heading for answer in ANSWERS)), "every question needs a command"
    anchors = ["".join(re.findall(r"[\w -]", question)).lower().replace(" ", "-") for question in questions]
    assert sorted(re.findall(r"\]\(#([^)]+)\)", page)) == sorted(anchors)
