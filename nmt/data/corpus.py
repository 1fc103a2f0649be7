"""Parallel text: what a data configuration names, read as pairs of lines.

Files are UTF-8, plain, .gz or .xz, lines ended by a line feed alone or after a carriage return.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, cast

from nmt.config.data import CorpusConfig
from nmt.data import hub
from nmt.data.compression import DAMAGE, SUFFIXES, damaged, decompressed, open_file
from nmt.data.digests import Digests
from nmt.data.extent import Extent
from nmt.errors import ConfigError, NmtError

Pair = tuple[str, str]

_BLOCK = 10_000  # pairs


def read_corpus(
    corpus: CorpusConfig, source_language: str, target_language: str, extent: Extent | None = None
) -> Iterator[Pair]:
    """The pairs of a corpus as its lines are, one after the other; `extent` is kept up to date.

    The languages are those of a corpus without its own.

    Raises NmtError, perhaps only at the end, for a missing, empty or damaged file, for text that is not UTF-8 and for
    unequal numbers of lines.
    """
    source_language, target_language = languages_of(corpus, source_language, target_language)
    if corpus.hub is not None and hub.streams(corpus):
        blocks = hub.stream(corpus, source_language, target_language, None, _to_stderr)
        return chain.from_iterable(pairs for pairs, _ in blocks)
    if corpus.hub is not None:
        return hub.read(corpus, source_language, target_language, extent)
    if corpus.tsv is not None:
        return _read_tsv(Path(corpus.tsv), corpus.columns, source_language, target_language, extent)
    return _read_files(*_files(corpus, source_language, target_language), extent)


def read_blocks(
    corpus: CorpusConfig, languages: tuple[str, str], place: Any, say: Callable[[str], None], extent: Extent
) -> Iterator[tuple[list[Pair], Any]]:
    """The same in blocks of some 10,000 pairs, each with the place after it, where another call can go on.

    A place is what JSON can hold; None is the beginning.
    """
    if hub.streams(corpus):
        stream = hub.stream(corpus, *languages_of(corpus, *languages), place, say)
        while parts := list(islice(stream, _BLOCK // hub.ROWS)):
            yield list(chain.from_iterable(pairs for pairs, _ in parts)), parts[-1][1]
        return
    read = place or 0
    pairs = islice(read_corpus(corpus, *languages, extent), read, None)
    while block := list(islice(pairs, _BLOCK)):
        read += len(block)
        yield block, read


def languages_of(corpus: CorpusConfig, source_language: str, target_language: str) -> tuple[str, str]:
    """Source and target language of a corpus: its own, or those given."""
    return corpus.source_language or source_language, corpus.target_language or target_language


def corpus_name(corpus: CorpusConfig) -> str:
    """What to call a corpus: its name, or that of its file or data set."""
    if corpus.name is not None:
        return corpus.name
    if corpus.hub is not None:
        return "/".join(filter(None, (Path(corpus.hub).name, corpus.config)))
    return Path(str(corpus.prefix or corpus.tsv or corpus.source)).name


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file, without their ends."""
    return list(_lines(Path(path)))


def check_files(corpus: CorpusConfig, source_language: str, target_language: str) -> None:
    """Raise NmtError where a file of a corpus, or of its further references, is missing or may not be read.

    A data set is not looked for.
    """
    languages = languages_of(corpus, source_language, target_language)
    paths = [] if corpus.hub is not None else list(_paths(corpus, *languages))
    for path in (*paths, *map(Path, corpus.more_references or ())):
        open_file(path).close()


def digest(corpus: CorpusConfig, source_language: str, target_language: str, digests: Digests) -> str:
    """A hash of what a corpus contains, wherever it lies; of a stream, of what names its content."""
    source_language, target_language = languages_of(corpus, source_language, target_language)
    if hub.streams(corpus):
        what = f"stream {hub.streamed_digest(corpus)} {corpus.field} {source_language} {target_language}"
    elif corpus.hub is not None:
        part = f" {corpus.split}" if hub.is_part(corpus) else ""  # all parts of a split lie in the same files
        what = f"hub {corpus.field} {source_language} {target_language}{part}"
    elif corpus.tsv is not None:
        what = f"tsv {corpus.columns} {source_language} {target_language}"
    else:
        what = "files"
    total = blake2b(what.encode(), digest_size=16)
    for path in _paths(corpus, source_language, target_language):
        with open_file(path) as file:
            total.update(digests(path, file))
    return total.hexdigest()


def size(corpus: CorpusConfig, source_language: str, target_language: str) -> int | None:
    """The bytes of a corpus's files; None for a stream."""
    if hub.streams(corpus):
        return None
    paths = _paths(corpus, *languages_of(corpus, source_language, target_language))
    return sum(path.stat().st_size for path in paths)


# -- its files ------------------------------------------------------------------------------------------------------


def _paths(corpus: CorpusConfig, source_language: str, target_language: str) -> Iterable[Path]:
    """The files on this machine that hold a corpus; none of a stream."""
    if hub.streams(corpus):
        return []
    if corpus.hub is not None:
        return hub.files(corpus)
    return [Path(corpus.tsv)] if corpus.tsv is not None else _files(corpus, source_language, target_language)


def _files(corpus: CorpusConfig, source_language: str, target_language: str) -> tuple[Path, Path]:
    """The two files of a corpus of parallel text."""
    if corpus.source is not None and corpus.target is not None:
        return Path(corpus.source), Path(corpus.target)
    paths = []
    for language in (source_language, target_language):
        wanted = Path(f"{corpus.prefix}.{language}")
        if (path := existing(wanted)) is None:
            raise NmtError(f"{wanted} is missing (also looked for .gz and .xz)")
        paths.append(path)
    return paths[0], paths[1]


def existing(path: Path) -> Path | None:
    """`path`, or its compressed form, whichever is there."""
    candidates = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


# -- reading ------------------------------------------------------------------------------------------------------


def _read_files(source: Path, target: Path, extent: Extent | None) -> Iterator[Pair]:
    counts = [0, 0]
    for pair in zip_longest(_lines(source, extent), _lines(target, extent)):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        if counts[0] == counts[1]:
            yield cast(Pair, pair)
    for path, count in zip((source, target), counts, strict=True):
        if count == 0:
            raise NmtError(f"{path} is empty")
    if counts[0] != counts[1]:
        raise NmtError(
            f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}: "
            "line i of one must answer line i of the other"
        )


def _read_tsv(
    path: Path, columns: list[str] | None, source_language: str, target_language: str, extent: Extent | None
) -> Iterator[Pair]:
    """Pairs of a TSV. Its first line may name its columns; else `columns` or source, target are their order."""
    order = columns or [source_language, target_language]
    number = 0
    for number, line in enumerate(_lines(path, extent), start=1):
        cells = line.split("\t")
        if number == 1 and columns is None and {source_language, target_language} <= set(cells):
            order = cells
        if number == 1:
            places = _places(order, source_language, target_language)
        if number == 1 and order is cells:
            continue
        if len(cells) != len(order):
            raise NmtError(
                f"{path}, line {number}: {len(cells)} columns where {len(order)} are expected ({', '.join(order)})"
            )
        yield cells[places[0]], cells[places[1]]
    if number == 0:
        raise NmtError(f"{path} is empty")


def _places(columns: list[str], source_language: str, target_language: str) -> tuple[int, int]:
    for language in (source_language, target_language):
        if language not in columns:
            raise ConfigError(f"the tsv's columns ({', '.join(columns)}) do not include {language}")
    return columns.index(source_language), columns.index(target_language)


def _lines(path: Path, extent: Extent | None = None) -> Iterator[str]:
    """Line by line; a byte order mark at the start is not text."""
    with open_file(path) as raw, decompressed(path, raw) as file:
        if extent is not None:
            extent.watch(raw)
        try:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise NmtError(
                        f"{path}, line {number}: byte {error.start + 1} of the line is not valid UTF-8: "
                        "convert the file to UTF-8"
                    ) from error
                yield text
        except (OSError, *DAMAGE) as error:
            raise damaged(path, error) from error


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
