"""nmt-translate: raw text in, translations out, line by line."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nmt.cli.common import Parser, run_command
from nmt.errors import NmtError
from nmt.files import atomic_write

if TYPE_CHECKING:
    from nmt.translate import Translation

BLOCK = 2000  # lines read, sorted by length and answered together


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-translate",
        "RUN_DIR [-i FILE] [-o FILE] [--beam-size N] [--length-penalty A] [--n-best N] [--checkpoint NAME] [...]",
        "Translate raw text with a trained system: line i of the output answers line i of the input.",
        "example: nmt-translate runs/demo/transformer < source.de > translations.en",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run directory of nmt-train")
    parser.add_argument("-i", "--input", metavar="FILE", help="default: standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="written once all is done; default: standard output")
    parser.add_argument("--beam-size", metavar="N", type=_number(int, 1), help="1 = greedy; default: search.beam_size")
    parser.add_argument("--length-penalty", metavar="A", type=_number(float, 0), help="default: search.length_penalty")
    parser.add_argument("--n-best", metavar="N", type=_number(int, 1), help="a JSON object a line with N hypotheses")
    parser.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="best, last, averaged or a step; default: averaged if there is one, or best",
    )
    parser.add_argument("--device", default="auto", help="cuda, mps or cpu; default: the first of them there is")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], help="default: search.precision")
    return run_command(parser, _translate, argv)


def _number(kind: Callable[[str], Any], least: int) -> Callable[[str], Any]:
    """An argument type: a number not below `least`."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r} is not a number of that kind") from error
        if not least <= value < float("inf"):
            raise ArgumentTypeError(f"{text} must be {least} or more")
        return value

    return parse


def _translate(arguments: Namespace) -> None:
    with _input(arguments.input) as source:
        from nmt.translate import Translator

        translator = Translator.load(
            arguments.run_dir, arguments.checkpoint, arguments.device, arguments.precision, warn=tell
        )
        progress = Progress(arguments.input)
        name = arguments.input or "standard input"
        with _output(arguments.output) as output:
            first_line = 1
            for block in blocks(source, name, 1 if source.isatty() else BLOCK):
                translations = translator.translate_nbest(
                    block,
                    arguments.n_best or 1,
                    beam_size=arguments.beam_size,
                    length_penalty=arguments.length_penalty,
                    first_line=first_line,
                    progress=progress.add,
                )
                output.writelines(_answers(translations, first_line, as_json=arguments.n_best is not None))
                output.flush()
                first_line += len(block)
                progress.reach(first_line - 1)
            if arguments.input and first_line == 1:
                raise NmtError(f"{arguments.input} is empty: there is nothing to translate")
        progress.end()


@contextmanager
def _input(path: str | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdin.buffer
    else:
        with Path(path).open("rb") as file:
            yield file


@contextmanager
def _output(path: str | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
    else:
        with atomic_write(path, "wb") as file:
            yield file


def blocks(file: IO[bytes], name: str, size: int) -> Iterator[list[str]]:
    """The lines of a UTF-8 file, `size` at a time, without their ends; only a line feed ends a line.

    At a line that is not UTF-8, yields what came before it and raises NmtError.
    """
    block: list[str] = []
    for number, raw in enumerate(file, start=1):
        try:
            line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            if block:
                yield block
            raise NmtError(
                f"{name}, line {number} is not valid UTF-8 ({error.reason} at byte {error.start + 1} of the line): "
                "convert the text to UTF-8"
            ) from error
        block.append(line.removeprefix("\ufeff") if number == 1 else line)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _answers(translations: Sequence[Translation], first_line: int, as_json: bool) -> Iterator[bytes]:
    """A line of output for each line of input."""
    for number, translation in enumerate(translations, start=first_line):
        text = translation.text
        if as_json:
            hypotheses = [
                {"text": one.text, "log_prob": one.log_prob, "score": one.score, "finished": one.finished}
                for one in translation.hypotheses
            ]
            answer = {"line": number, "source": translation.source, "hypotheses": hypotheses}
            text = json.dumps(answer, ensure_ascii=False)
        yield text.encode("utf-8") + b"\n"


class Progress:
    """How far it is, on stderr: a live line on a terminal, else a plain one now and then; none for typed lines."""

    def __init__(self, path: str | None) -> None:
        """path is the input, counted beforehand; None is standard input, whose length is not known."""
        self.live = sys.stderr.isatty()
        self.silent = path is None and sys.stdin.isatty()
        self.total = _count_lines(path) if path is not None and Path(path).is_file() else None  # not of a pipe
        self.done = 0
        self.start = time.monotonic()
        self.shown = self.start

    def add(self, lines: int) -> None:
        """So many more lines are done."""
        self.done += lines
        if not self.silent and time.monotonic() - self.shown >= (0.5 if self.live else 30.0):
            self.shown = time.monotonic()
            print(f"{_fresh_line()}{self._state()}", end="" if self.live else "\n", file=sys.stderr, flush=True)

    def reach(self, lines: int) -> None:
        """So many lines are done in all."""
        self.done = lines

    def end(self) -> None:
        """Leave one line about the whole work."""
        if not self.silent:
            seconds = time.monotonic() - self.start
            tell(f"{self.done:,} lines in {seconds:.1f} s ({self.done / max(seconds, 1e-9):.1f} lines/s)")

    def _state(self) -> str:
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        if not self.total or not rate:
            return f"{self.done:,} lines, {rate:.1f} lines/s"
        minutes, seconds = divmod(round(max(self.total - self.done, 0) / rate), 60)
        return f"{self.done:,} of {self.total:,} lines, {rate:.1f} lines/s, {minutes}:{seconds:02} left"


def tell(sentence: str) -> None:
    """Print a warning or a note on stderr, over a live line that may be there."""
    print(f"{_fresh_line()}nmt-translate: {sentence}", file=sys.stderr, flush=True)


def _fresh_line() -> str:
    return "\r\x1b[K" if sys.stderr.isatty() else ""


def _count_lines(path: str) -> int:
    with Path(path).open("rb") as file:
        return sum(1 for _ in file)


if __name__ == "__main__":
    sys.exit(main())
