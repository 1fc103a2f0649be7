"""Files that correspond to the input of nmt-translate line by line.

--prefix and --score name texts to read; --alignments and --attention name files to write.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from nmt.cli.translate.counting import say
from nmt.cli.translate.options import READ, WRITTEN, given
from nmt.data.compression import reading, writing_text
from nmt.errors import NmtError
from nmt.inference.lines import LineReader

if TYPE_CHECKING:
    from nmt.inference.engines.native import NativeEngine
    from nmt.inference.hypotheses import Translation
    from nmt.inference.translator import Translator
    from nmt.models.seq2seq import Seq2Seq


@contextmanager
def attention_files(arguments: Namespace) -> Iterator[dict[str, IO[str]]]:
    """Open the files of --alignments and --attention; they only appear if the `with` block ends without an error."""
    with ExitStack() as stack:
        paths = given(arguments, WRITTEN)
        yield {name: stack.enter_context(writing_text(path)) for name, path in paths.items()}


def write_attention(
    arguments: Namespace, translator: Translator, translations: Sequence[Translation], first_line: int
) -> None:
    """Write the attention of each line's first hypothesis to the open files of --alignments and --attention."""
    from nmt.data.alignments import format_links
    from nmt.inference.translated_attention import translated_pieces
    from nmt.inference.word_attention import on_words

    files, languages = arguments.attention_files, translator.languages_of(arguments.tag)
    tags = [arguments.tag] * len(translations)
    found = translated_pieces(_model(translator), translator.tokenizer, translations, tags=tags)
    for number, pieces in enumerate(found, start=first_line):
        one = on_words(pieces, languages)
        if "alignments" in files:
            files["alignments"].write(f"{format_links(one.links)}\n")
        if "attention" in files:
            sources, targets = one.labels
            weights = [[round(float(weight), 5) for weight in row] for row in one.weights]
            record = {"line": number, "source": sources, "target": targets, "weights": weights}
            files["attention"].write(f"{json.dumps(record, ensure_ascii=False)}\n")


def check_attends(translator: Translator, arguments: Namespace) -> None:
    """Raise NmtError if attention is to be written but the model has none."""
    for name in given(arguments, WRITTEN):
        if not _model(translator).attends:
            raise NmtError(
                f"--{name}: {arguments.run_dir[0]} has no attention to read an alignment from: its decoder reads the "
                "source as one fixed vector"
            )


def read_beside(arguments: Namespace, name: str, first_line: int, count: int) -> list[str] | None:
    """Return `count` lines of the file of option `name`, from line `first_line` on; None if the option is not given."""
    path = getattr(arguments, name)
    if path is None:
        return None
    lines = _read(path, arguments.on_error)
    beside = list(lines[first_line - 1 : first_line - 1 + count])
    if len(beside) < count:
        raise NmtError(f"{path} has only {len(lines):,} lines, but {arguments.input or 'standard input'} has more")
    return beside


def check_counts_beside(arguments: Namespace, count: int) -> None:
    """Raise NmtError if a text of --prefix or --score does not have `count` lines, the number of the input."""
    for path in given(arguments, READ).values():
        if (there := len(_read(path, arguments.on_error))) != count:
            raise NmtError(
                f"{arguments.input or 'standard input'} has {count:,} lines but {path} has {there:,}: they must "
                "correspond line by line"
            )


def digests_beside(arguments: Namespace) -> dict[str, str]:
    """Return a hash of each text that is read in addition to the input, keyed by its option."""
    texts = {name: Path(path).read_bytes() for name, path in given(arguments, READ).items()}
    return {f"--{name}": blake2b(text, digest_size=16).hexdigest() for name, text in texts.items()}


def _model(translator: Translator) -> Seq2Seq:
    """Return the translator's model; attention is only written for a single run on the native engine."""
    return cast("Seq2Seq", cast("NativeEngine", translator.engine).model)


def forget() -> None:
    """Forget the texts of an earlier call in this process: their files may have changed."""
    _read.cache_clear()


@lru_cache
def _read(path: str, on_error: str) -> tuple[str, ...]:
    """Return all lines of a text file."""
    reader = LineReader(path, on_error)  # type: ignore[arg-type]
    with reading(path) as file:
        lines = tuple(line.text for block in reader.blocks(file, 10_000) for line in block)
    if broken := reader.report():
        say(broken)
    return lines
