"""Parallel text: what a data configuration names, read as pairs of lines.

Files are UTF-8, plain, .gz or .xz, lines ended by a line feed alone or after a carriage return.
"""

from __future__ import annotations

import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, cast

from nmt.config.data import CorpusConfig, DataConfig
from nmt.data import hub
from nmt.data.digests import Digests
from nmt.data.extent import Extent
from nmt.errors import ConfigError, NmtError
from nmt.resources import embedded_corpus

Pair = tuple[str, str]

EMBEDDED = "embedded"  # the data.path of the corpus that comes with nmt
_SUFFIXES = ("", ".gz", ".xz")
_OPENERS: dict[str, Callable[..., object]] = {".gz": gzip.open, ".xz": lzma.open}
_BLOCK = 10_000  # pairs
_VAL_NAMES = ("val", "dev", "valid", "validation")


@dataclass(frozen=True)
class Corpora:
    """The corpora of an experiment, each one explicit."""

    train: list[CorpusConfig]
    val: list[CorpusConfig]
    test: dict[str, list[CorpusConfig]]


def resolve(data: DataConfig) -> Corpora:
    """The corpora that a configuration names; data.path stands in for all of them.

    In the folder data.path lie train, val (or dev, valid, validation) and any number of test sets (test*), each as
    NAME.{source_language,target_language}, also .gz or .xz, or as NAME.tsv. Raises NmtError for what is missing.
    """
    folder = _folder(data)
    if folder is not None:
        return Corpora(
            train=[_in_folder(folder, ("train",), data)],
            val=[_in_folder(folder, _VAL_NAMES, data)],
            test=test_sets(data),
        )
    if data.val is None:
        raise ConfigError("data.val is missing: set data.path=FOLDER or data.val")
    return Corpora(data.train, data.held_out()["data.val"], test_sets(data))


def test_sets(data: DataConfig) -> dict[str, list[CorpusConfig]]:
    """The corpora of each test set by name; in a folder (data.path), each test* of which both languages are there."""
    folder = _folder(data)
    if folder is None:
        held_out = data.held_out()
        return {name: held_out[f"data.test.{name}"] for name in data.test}
    endings = [f".{data.source_language}{suffix}" for suffix in _SUFFIXES] + [".tsv"]
    names = {
        path.name.removesuffix(ending)
        for path in folder.glob("test*")
        for ending in endings
        if path.name.endswith(ending)
    }
    found = {name: _find(folder, name, data) for name in sorted(names)}
    return {name: [corpus] for name, corpus in found.items() if corpus is not None}


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


def digest(corpus: CorpusConfig, source_language: str, target_language: str, digests: Digests) -> str:
    """A hash of what a corpus contains, wherever it lies; of a stream, of what names its content."""
    source_language, target_language = languages_of(corpus, source_language, target_language)
    if hub.streams(corpus):
        what = f"stream {hub.streamed_digest(corpus)} {corpus.field} {source_language} {target_language}"
    elif corpus.hub is not None:
        what = f"hub {corpus.field} {source_language} {target_language}"
    elif corpus.tsv is not None:
        what = f"tsv {corpus.columns} {source_language} {target_language}"
    else:
        what = "files"
    total = blake2b(what.encode(), digest_size=16)
    for path in _paths(corpus, source_language, target_language):
        with _open(path) as file:
            total.update(digests(path, file))
    return total.hexdigest()


def size(corpus: CorpusConfig, source_language: str, target_language: str) -> int | None:
    """The bytes of a corpus's files; None for a stream."""
    if hub.streams(corpus):
        return None
    paths = _paths(corpus, *languages_of(corpus, source_language, target_language))
    return sum(path.stat().st_size for path in paths)


# -- finding ------------------------------------------------------------------------------------------------------


def _folder(data: DataConfig) -> Path | None:
    if data.path is None:
        return None
    folder = Path(data.path)
    if folder.is_dir():
        return folder
    if data.path == EMBEDDED:
        return embedded_corpus()
    if folder.exists():
        raise ConfigError(f"data.path={data.path} is a file: name the folder of {{train,val,test}}.LANGUAGE")
    raise ConfigError(f"data.path={data.path}: there is no such folder")


def _in_folder(folder: Path, names: tuple[str, ...], data: DataConfig) -> CorpusConfig:
    for name in names:
        if (corpus := _find(folder, name, data)) is not None:
            return corpus
    files = {
        name: [f"{name}.{language}" for language in (data.source_language, data.target_language)] for name in names
    }
    there = {file for pair in files.values() for file in pair if _existing(folder / file)}
    name = next((name for name in names if there.intersection(files[name])), names[0])
    lacking = " and ".join(file for file in files[name] if file not in there)
    others = "".join(f"{other}.*, " for other in names if other != name)
    raise NmtError(f"data.path={data.path} lacks {lacking} (also looked for {others}.gz, .xz and {name}.tsv)")


def _find(folder: Path, name: str, data: DataConfig) -> CorpusConfig | None:
    """The corpus of that name in a folder, if both languages are there."""
    files = [_existing(folder / f"{name}.{language}") for language in (data.source_language, data.target_language)]
    if files[0] is not None and files[1] is not None:
        return CorpusConfig(source=str(files[0]), target=str(files[1]))
    tsv = folder / f"{name}.tsv"
    return CorpusConfig(tsv=str(tsv)) if tsv.is_file() else None


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
        if (path := _existing(wanted)) is None:
            raise NmtError(f"{wanted} is missing (also looked for .gz and .xz)")
        paths.append(path)
    return paths[0], paths[1]


def _existing(path: Path) -> Path | None:
    """`path`, or its compressed form, whichever is there."""
    candidates = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
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
    with _open(path) as raw, _decompressed(path, raw) as file:
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
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise NmtError(f"{path} could not be read to its end, it is damaged: {error}") from error


def _open(path: Path) -> BinaryIO:
    """A file for reading bytes."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NmtError(f"{path} is missing") from error
    except OSError as error:
        raise NmtError(f"{path} could not be read: {error.strerror or error}") from error


def _decompressed(path: Path, file: BinaryIO) -> BinaryIO:
    opener = _OPENERS.get(path.suffix)
    return file if opener is None else cast(BinaryIO, opener(file, "rb"))


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
