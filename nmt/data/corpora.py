"""The corpora of an experiment: what a data configuration names, or what lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nmt.config.data import CorpusConfig, DataConfig
from nmt.data.compression import SUFFIXES, existing, open_file
from nmt.data.sources import source_of, with_split
from nmt.errors import ConfigError, NmtError
from nmt.resources import embedded_corpus

EMBEDDED = "embedded"  # the data.path of the corpus that comes with nmt
_VAL_NAMES = ("val", "dev", "valid", "validation")
_VAL_SPLITS = _VAL_NAMES[::-1]  # of a data set, the usual one first


@dataclass(frozen=True)
class Corpora:
    """The corpora of an experiment, each one explicit."""

    train: list[CorpusConfig]
    val: list[CorpusConfig]
    test: dict[str, list[CorpusConfig]]


def resolve(data: DataConfig) -> Corpora:
    """The corpora that a configuration names, each data set with its split; data.path stands in for all of them.

    In the folder data.path lie train, val (or dev, valid, validation) and any number of test sets (test*), each as
    NAME.{source_language,target_language}, also .gz or .xz, or as NAME.tsv. Raises NmtError for what is missing.
    """
    folder = _folder(data)
    train = data.train if folder is None else [_in_folder(folder, ("train",), data)]
    return Corpora(train, validation_set(data), test_sets(data))


def validation_set(data: DataConfig) -> list[CorpusConfig]:
    """The corpora of the validation set. Raises NmtError for what is missing."""
    folder = _folder(data)
    if folder is not None:
        return [_in_folder(folder, _VAL_NAMES, data)]
    if data.val is None:
        raise ConfigError("data.val is missing: set data.path=FOLDER or data.val")
    return [with_split(corpus, "data.val", _VAL_SPLITS) for corpus in data.held_out()["data.val"]]


def test_sets(data: DataConfig) -> dict[str, list[CorpusConfig]]:
    """The corpora of each test set by name; in a folder (data.path), each test* of which both languages are there."""
    folder = _folder(data)
    if folder is None:
        held_out = data.held_out()
        return {
            name: [with_split(corpus, key, ("test",)) for corpus in held_out[key]]
            for name, key in ((name, f"data.test.{name}") for name in data.test)
        }
    endings = [f".{data.source_language}{suffix}" for suffix in SUFFIXES] + [".tsv"]
    names = {
        path.name.removesuffix(ending)
        for path in folder.glob("test*")
        for ending in endings
        if path.name.endswith(ending)
    }
    found = {name: _find(folder, name, data) for name in sorted(names)}
    return {name: [corpus] for name, corpus in found.items() if corpus is not None}


def check_test_sets(data: DataConfig) -> None:
    """Raise NmtError where a file of a test set is missing: a training would end before anybody looked for it."""
    for name, corpora in test_sets(data).items():
        for corpus in corpora:
            try:
                source_of(corpus, data.source_language, data.target_language).check()
                for path in corpus.more_references or ():
                    open_file(Path(path)).close()
            except NmtError as error:
                raise NmtError(f"data.test.{name}: {error}") from error


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
    there = {file for pair in files.values() for file in pair if existing(folder / file)}
    name = next((name for name in names if there.intersection(files[name])), names[0])
    lacking = " and ".join(file for file in files[name] if file not in there)
    others = "".join(f"{other}.*, " for other in names if other != name)
    raise NmtError(f"data.path={data.path} lacks {lacking} (also looked for {others}.gz, .xz and {name}.tsv)")


def _find(folder: Path, name: str, data: DataConfig) -> CorpusConfig | None:
    """The corpus of that name in a folder, if both languages are there."""
    files = [existing(folder / f"{name}.{language}") for language in (data.source_language, data.target_language)]
    if files[0] is not None and files[1] is not None:
        return CorpusConfig(source=str(files[0]), target=str(files[1]))
    tsv = folder / f"{name}.tsv"
    return CorpusConfig(tsv=str(tsv)) if tsv.is_file() else None
