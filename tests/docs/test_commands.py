"""Test that every command in README.md and the pages of docs/ has options and keys that exist."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from nmt.config.compose import parse_override
from nmt.config.schema import Config
from nmt.config.typed import keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md")))]
COMMANDS = ("train", "prepare", "translate", "evaluate", "compare", "align", "heads", "average", "export", "shortlist",
            "study")  # fmt: skip
CODE = re.compile(r"^```\w*\n(.*?)^```$|`(nmt-[^`\n]+)`", re.M | re.S)
PREFIX = r"(?:\$ )?(?:.* \| )?(?:[A-Z_]+=\S+ )*(?:nmt-|(?:python|torchrun) .*-m nmt\.cli\.)"
COMMAND = re.compile(rf"{PREFIX}({'|'.join(COMMANDS)}) (.+)")
KNOWN = set(keys(Config))


def documented(page: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a page, without `nmt-`, and its arguments."""
    for match in CODE.finditer((ROOT / page).read_text("utf-8")):
        for line in "".join(filter(None, match.groups())).replace("\\\n", " ").splitlines():
            command = COMMAND.match(line)
            if command is None or "..." in line or line.startswith("usage:"):  # a summary of the options
                continue
            words = shlex.shlex(command[2], posix=True, punctuation_chars=True)
            words.whitespace_split = True
            yield command[1], list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), words))


@cache
def options_of(command: str) -> set[str]:
    """Return the options that the help of a command names."""
    with redirect_stdout(StringIO()) as printed:
        assert import_module(f"nmt.cli.{command}").main(["--help"]) == 0
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", printed.getvalue()))


def is_known(key: str) -> bool:
    """Return whether a key exists, or is inside one that has no fixed keys, such as the names of test sets."""
    return key in KNOWN or any(key.startswith(f"{known}.") for known in KNOWN if known.startswith("data."))


@pytest.mark.parametrize("page", PAGES)
def test_options_and_keys_of_documented_commands_exist(page: str) -> None:
    for command, arguments in documented(page):
        for before, argument in itertools.pairwise(["", *arguments]):
            if re.match("--?[a-z]", argument):
                assert argument.partition("=")[0] in options_of(command), f"nmt-{command} {argument}"
            elif "=" in argument and command in ("train", "prepare", "study") and before != "--job-option":
                key = parse_override(argument.lstrip("+~")).key_or_group
                assert is_known(re.sub(r"\.\d+\b.*", "", key)), f"nmt-{command} {argument}"


def test_many_commands_are_found() -> None:
    assert sum(len(list(documented(page))) for page in PAGES) > 150
    assert {command for page in PAGES for command, _ in documented(page)} == set(COMMANDS)
    assert {"--beam-size", "-o", "--help"} <= options_of("translate")
