"""Files that stand line by line beside the input of nmt-translate: texts that are read, attention that is written."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from nmt.cli.translate.messages import say
from nmt.data.compression import reading, writing_text
from nmt.errors import NmtError
from nmt.inference.lines import LineReader

if TYPE_CHECKING:
    from nmt.inference.engines.native import NativeEngine
    from nmt.inference.hypotheses import Translation
    from nmt.inference.translator import Translator
    from nmt.models.seq2seq import Seq2Seq

READ = ("prefix", "score")  # options that name a text beside the input
WRITTEN = ("alignments", "attention")


class AttentionWriter:
    """Writes word alignments and attention as translations come; None for what is not asked for."""

    def __init__(
        self,
        alignments: IO[str] | None,
        attention: IO[str] | None,
        languages: tuple[str, str],
        tag: str | None = None,
    ) -> None:
        self.alignments = alignments
        self.attention = attention
        self.languages = languages
        self.tag = tag  # of all lines

    def write(self, translator: Translator, translations: Sequence[Translation], first_line: int) -> None:
        """The attention of the first hypothesis of each line, with which the native engine's model gives it."""
        from nmt.evaluation.alignment_error import format_links
        from nmt.inference.translated_attention import translation_attention

        found = translation_attention(_model(translator), translator.tokenizer, translations, self.languages, self.tag)
        for number, one in enumerate(found, start=first_line):
            if self.alignments is not None:
                self.alignments.write(f"{format_links(one.links)}\n")
            if self.attention is not None:
                sources, targets = one.labels
                weights = [[round(float(weight), 5) for weight in row] for row in one.weights]
                record = {"line": number, "source": sources, "target": targets, "weights": weights}
                self.attention.write(f"{json.dumps(record, ensure_ascii=False)}\n")


@contextmanager
def attention_writer(arguments: Namespace) -> Iterator[AttentionWriter | None]:
    """What writes the files of --alignments and --attention, which appear when the block ends without an error."""
    paths = {name: getattr(arguments, name) for name in WRITTEN if getattr(arguments, name) is not None}
    if not paths:
        yield None
        return
    from nmt.runs.run import read_run_config  # slow to load

    data = read_run_config(arguments.run_dir[0]).data
    with ExitStack() as stack:
        files = {name: stack.enter_context(writing_text(path)) for name, path in paths.items()}
        languages = (data.source_language, data.target_language)
        yield AttentionWriter(files.get("alignments"), files.get("attention"), languages, arguments.tag)


def check_attends(translator: Translator, arguments: Namespace) -> None:
    """Refuse to write the attention of a model that has none."""
    for name in WRITTEN:
        if getattr(arguments, name) is not None and not _model(translator).attends:
            raise NmtError(
                f"--{name}: {arguments.run_dir[0]} has no attention to read an alignment from: its model passes the "
                "source on as one fixed vector"
            )


def read_beside(arguments: Namespace, name: str, first_line: int, count: int) -> list[str] | None:
    """The lines of the text that option `name` gives which stand beside `count` lines of the input; None without it."""
    path = getattr(arguments, name)
    if path is None:
        return None
    lines = _read(path, arguments.on_error)
    beside = list(lines[first_line - 1 : first_line - 1 + count])
    if len(beside) < count:
        raise NmtError(f"{path} has only {len(lines):,} lines, and {arguments.input or 'standard input'} has more")
    return beside


def check_counts_beside(arguments: Namespace, count: int) -> None:
    """Refuse a text beside the input that does not have its number of lines."""
    for name in READ:
        path = getattr(arguments, name)
        if path is not None and (there := len(_read(path, arguments.on_error))) != count:
            raise NmtError(
                f"{arguments.input or 'standard input'} has {count:,} lines but {path} has {there:,}: they must answer "
                "each other line by line"
            )


def digests_beside(arguments: Namespace) -> dict[str, str]:
    """A hash of each text beside the input, by its option."""
    paths = {name: getattr(arguments, name) for name in READ if getattr(arguments, name) is not None}
    return {f"--{name}": blake2b(Path(path).read_bytes(), digest_size=16).hexdigest() for name, path in paths.items()}


def _model(translator: Translator) -> Seq2Seq:
    """The model of the one run and the native engine that attention is written of."""
    return cast("Seq2Seq", cast("NativeEngine", translator.engine).model)


@lru_cache
def _read(path: str, on_error: str) -> tuple[str, ...]:
    """All lines of a text."""
    reader = LineReader(path, on_error)  # type: ignore[arg-type]
    with reading(path) as file:
        lines = tuple(line.text for block in reader.blocks(file, 10_000) for line in block)
    if broken := reader.report():
        say(broken)
    return lines
